"""Widths, exponents and overlaps of power-function averages are those of Karras et al. 2024."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.power_average import (
    WIDEST,
    decay_between,
    gamma_of,
    overlap,
    profile_file,
    width_of,
    width_of_file,
)


# The paper's own examples: the two widths that it keeps.
@pytest.mark.parametrize(("width", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_of_the_papers_widths(width: float, gamma: float) -> None:
    assert gamma_of(width) == pytest.approx(gamma, abs=5e-3)


@given(st.floats(min_value=1e-3, max_value=WIDEST))
def test_a_width_survives_its_exponent(width: float) -> None:
    """The exponent solves the paper's cubic g^3 + 7 g^2 + (16 - w^-2) g + (12 - w^-2) = 0."""
    gamma = gamma_of(width)
    assert width_of(gamma) == pytest.approx(width, rel=1e-9)
    inverse = width**-2
    terms = (gamma**3, 7 * gamma**2, (16 - inverse) * gamma, 12 - inverse)
    assert abs(math.fsum(terms)) <= 1e-6 * (1 + max(map(abs, terms)))


@pytest.mark.parametrize("width", [0.0, -1.0, 0.3])
def test_no_profile_is_wider_than_the_uniform_one(width: float) -> None:
    with pytest.raises(ValueError, match="relative width"):
        gamma_of(width)


@given(step=st.integers(2, 10_000), every=st.integers(1, 50), gamma=st.floats(0, 50))
def test_the_decay_of_many_steps_is_the_product_of_their_decays(step: int, every: int, gamma: float) -> None:
    before = max(0, step - every)
    product = math.prod((1 - 1 / each) ** (gamma + 1) for each in range(before + 1, step + 1))
    assert decay_between(before, step, gamma) == pytest.approx(product, rel=1e-9, abs=1e-300)


@given(
    steps=st.tuples(st.integers(1, 1000), st.integers(1, 1000)), gammas=st.tuples(st.floats(0, 20), st.floats(0, 20))
)
def test_overlap_is_the_integral_of_both_profiles(steps: tuple[int, int], gammas: tuple[float, float]) -> None:
    (first, second), (gamma_a, gamma_b) = steps, gammas
    end, slices = min(first, second), 4000

    def profile(at: float, step: int, gamma: float) -> float:
        return (gamma + 1) / step * math.pow(at / step, gamma)

    middle = ((number + 0.5) * end / slices for number in range(slices))
    integral = sum(profile(at, first, gamma_a) * profile(at, second, gamma_b) for at in middle) * end / slices
    assert overlap(first, gamma_a, second, gamma_b) == pytest.approx(integral, rel=1e-3)
    assert overlap(first, gamma_a, second, gamma_b) == pytest.approx(overlap(second, gamma_b, first, gamma_a))


@pytest.mark.parametrize(("width", "path"), [(0.05, "ema_power/0.05.safetensors"), (0.1, "ema_power/0.1.safetensors")])
def test_a_profiles_file_says_its_width(width: float, path: str) -> None:
    assert profile_file(width) == path
    assert width_of_file(path) == width
    assert width_of_file("unet_ema/diffusion_pytorch_model.safetensors") is None
