"""The order over shards: every sample once an epoch for any set, few shards at a time, and no state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_trainer.data.permutation import Permutation
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.data.shard_order import ShardOrder

LOAD_INDEPENDENT = settings(deadline=None, max_examples=40)
COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=30).map(np.array)


@LOAD_INDEPENDENT
@given(counts=COUNTS, window=st.integers(1, 8), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 10**6))
def test_every_sample_comes_once_an_epoch(counts: np.ndarray, window: int, seed: int, epoch: int) -> None:
    order = ShardOrder(counts, window, seed)
    rows = order.rows(epoch, np.arange(order.size))
    assert sorted(rows.tolist()) == list(range(order.size))


@LOAD_INDEPENDENT
@given(counts=COUNTS, window=st.integers(1, 8), cut=st.integers(0, 10**6), epoch=st.integers(0, 100))
def test_a_position_is_the_same_sample_whoever_asks(counts: np.ndarray, window: int, cut: int, epoch: int) -> None:
    whole = ShardOrder(counts, window, 3).rows(epoch, np.arange(int(counts.sum())))
    positions = np.arange(len(whole))[cut % len(whole) :]
    assert ShardOrder(counts, window, 3).rows(epoch, positions).tolist() == whole[positions].tolist()


@LOAD_INDEPENDENT
@given(
    counts=COUNTS,
    window=st.integers(1, 8),
    share=st.integers(1, 5),
    world=st.sampled_from([1, 2, 3, 4]),
    epochs=st.integers(1, 3),
)
def test_every_sample_comes_once_an_epoch_over_any_world(
    counts: np.ndarray, window: int, share: int, world: int, epochs: int
) -> None:
    shards = ShardOrder(counts, window, 11)
    order = SampleOrder(shards.size, 11, share * world, shards)
    steps = -(-epochs * order.size // order.global_batch_size)
    seen = np.concatenate(
        [order.rows(order.indices(step, rank, world)) for step in range(steps) for rank in range(world)]
    )
    for epoch in range(epochs):
        part = seen[epoch * order.size : (epoch + 1) * order.size]
        assert sorted(part.tolist()) == list(range(order.size))


@LOAD_INDEPENDENT
@given(counts=COUNTS, window=st.integers(1, 4), position=st.integers(0, 10**6), epoch=st.integers(0, 50))
def test_what_is_fetched_ahead_is_what_the_window_and_the_next_need(
    counts: np.ndarray, window: int, position: int, epoch: int
) -> None:
    order = ShardOrder(counts, window, 5)
    ahead = order.shards_from(epoch, position % order.size)
    assert len(ahead) <= max(2 * window, min(len(counts), window))
    following = range(position % order.size, min(position % order.size + window, order.size))  # no shard is empty
    needed, _ = order.locate(order.rows(epoch, np.array(following)))
    assert set(needed.tolist()) <= set(ahead)


def test_a_set_of_one_window_has_the_order_of_a_set_in_memory() -> None:
    counts = np.array([4, 4, 2])
    positions = np.arange(10)
    assert ShardOrder(counts, 8, 7).rows(3, positions).tolist() == Permutation(10, 7, 3)(positions).tolist()


def test_epochs_and_windows_are_not_alike() -> None:
    order = ShardOrder(np.full(40, 50), 4, 1)
    first, second = (order.rows(epoch, np.arange(order.size)) for epoch in (0, 1))
    assert (first != second).mean() > 0.95
    within = first.reshape(10, 200) % 50
    assert len({tuple(row) for row in within.tolist()}) == 10
    # Neighbours in training come from all shards of a window, not from one after the other.
    shards, _ = order.locate(first[:200])
    assert len(set(shards[:32].tolist())) == 4


def test_an_empty_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="every shard needs a sample"):
        ShardOrder(np.array([2, 0]), 2, 1)
