"""The arithmetic of a step is that of the literature, and a GPU's peak is found by its name."""

from __future__ import annotations

import pytest

from t2i_api.presets import PRESETS
from t2i_trainer.flops import peak_of_name, training_flops_per_image


def test_stable_diffusion_costs_what_is_known_of_it() -> None:
    """0.537 TFLOP an image at 256 px, forward and backward (2.407 at 512 px)."""
    flops = training_flops_per_image(PRESETS["stable-diffusion-v1"], side=32, tokens=77)
    assert flops / 1e12 == pytest.approx(0.537, abs=0.001)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H20", 148e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("Some GPU", None),
    ],
)
def test_the_peak_is_that_of_the_data_sheet(name: str, peak: float | None) -> None:
    assert peak_of_name(name) == peak
