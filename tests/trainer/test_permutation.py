"""The order of an epoch: every sample exactly once, another order each epoch, and never another answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_trainer.data.permutation import Permutation


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 3000), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 10_000))
def test_every_sample_stands_exactly_once_in_an_epoch(size: int, seed: int, epoch: int) -> None:
    order = Permutation(size, seed, epoch)(np.arange(size))
    assert sorted(order.tolist()) == list(range(size))


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 500), data=st.data())
def test_a_position_is_answered_alike_alone_and_in_company(size: int, data: st.DataObject) -> None:
    permutation = Permutation(size, 5, 1)
    position = data.draw(st.integers(0, size - 1))
    assert permutation(np.array([position]))[0] == permutation(np.arange(size))[position]


def test_epochs_and_seeds_shuffle_differently() -> None:
    orders = {tuple(Permutation(100, seed, epoch)(np.arange(100))) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_the_order_never_changes_between_versions() -> None:
    """A resumed run must go on in the order it was begun with, whatever was upgraded meanwhile."""
    assert Permutation(10, 7, 0)(np.arange(10)).tolist() == [1, 6, 5, 3, 2, 9, 0, 8, 7, 4]


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Permutation(0, 1, 1)
