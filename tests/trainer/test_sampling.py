"""What a step trains on: the same samples, noise and dropout at any world size, after any resume."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_trainer.data.sampling import SampleOrder, Stream, draw, generator_for


def rows_of(order: SampleOrder, step: int, world_size: int) -> list[int]:
    parts = [order.rows(order.indices(step, rank, world_size)) for rank in range(world_size)]
    return [int(row) for part in parts for row in part]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 12])
def test_any_world_size_trains_on_the_same_rows_in_the_same_order(world_size: int) -> None:
    order = SampleOrder(size=31, seed=3, global_batch_size=12)
    for step in (0, 1, 2, 7, 1000):
        assert rows_of(order, step, world_size) == rows_of(order, step, 1)


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 200),
    share=st.integers(1, 8),
    world_size=st.integers(1, 5),
    seed=st.integers(0, 2**31 - 1),
    epochs=st.integers(1, 3),
)
def test_every_sample_is_seen_once_an_epoch(size: int, share: int, world_size: int, seed: int, epochs: int) -> None:
    order = SampleOrder(size, seed, global_batch_size=share * world_size)
    steps = -(-epochs * size // order.global_batch_size)
    seen = [row for step in range(steps) for row in rows_of(order, step, world_size)]
    for epoch in range(epochs):
        assert Counter(seen[epoch * size : (epoch + 1) * size]) == Counter(range(size))


def test_a_step_is_the_same_whichever_steps_came_before() -> None:
    order = SampleOrder(size=50, seed=9, global_batch_size=8)
    walked = [rows_of(order, step, 2) for step in range(20)]
    assert walked[13] == rows_of(SampleOrder(size=50, seed=9, global_batch_size=8), 13, 2)


@given(seed=st.integers(0, 2**31 - 1), index=st.integers(0, 2**62))
def test_a_draw_is_a_pure_function_of_seed_and_index(seed: int, index: int) -> None:
    first, second = (draw(seed, index, timesteps=1000, dropout=0.1, shape=(3, 2, 2)) for _ in range(2))
    assert first.timestep == second.timestep
    assert 0 <= first.timestep < 1000
    assert first.drops_caption == second.drops_caption
    assert np.array_equal(first.noise, second.noise)


def test_noise_is_standard_normal_and_another_for_every_sample_seed_and_stream() -> None:
    noises = [draw(seed, index, timesteps=10, dropout=0, shape=(64,)).noise for seed in (0, 1) for index in range(200)]
    together = np.stack(noises)
    assert len({noise.tobytes() for noise in noises}) == 400
    assert abs(float(together.mean())) < 0.02
    assert abs(float(together.std()) - 1) < 0.02
    streams = {generator_for(5, stream, 1).standard_normal(4).tobytes() for stream in Stream}
    assert len(streams) == len(Stream)


def test_captions_are_dropped_as_often_as_asked_and_timesteps_are_uniform() -> None:
    draws = [draw(1, index, timesteps=4, dropout=0.25, shape=(1,)) for index in range(4000)]
    assert abs(sum(each.drops_caption for each in draws) / 4000 - 0.25) < 0.03
    counts = Counter(each.timestep for each in draws)
    assert set(counts) == {0, 1, 2, 3}
    assert all(abs(count / 4000 - 0.25) < 0.03 for count in counts.values())
    assert not any(draw(1, index, timesteps=4, dropout=0, shape=(1,)).drops_caption for index in range(500))
