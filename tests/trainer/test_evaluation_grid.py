"""Any number of ranks holds the same grid: the same pictures, noise, timesteps and wrong captions, each once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from tests.trainer.thread_world import on_every_rank

from t2i_trainer.data.feed import Batch
from t2i_trainer.evaluation_grid import Grid, build_grid

if TYPE_CHECKING:
    from t2i_trainer.sanity.theory import DataScale
    from t2i_trainer.world import World

GLOBAL_BATCH, TIMESTEPS = 16, 1000
NULL = torch.zeros(2, 3)
WORLDS = (1, 2, 4, 16)


@dataclass(frozen=True)
class CountedFeed:
    """Every number of sample `i` is `i + 1`, its caption `1 + i % captions`; every third caption is dropped."""

    world: World
    captions: int = 5
    dropped_every: int = 3

    def batch(self, step: int) -> Batch:
        share = GLOBAL_BATCH // self.world.size
        indices = step * GLOBAL_BATCH + self.world.rank * share + torch.arange(share)
        numbers = (indices + 1.0)[:, None, None, None].expand(-1, 1, 2, 2)
        texts = 1.0 + indices % self.captions
        texts[indices % self.dropped_every == 0] = 0
        return Batch(numbers, -numbers, indices, texts[:, None, None].expand(-1, *NULL.shape))


def grids(size: int, images: int, **feed: int) -> list[tuple[Grid | None, DataScale]]:
    def build(world: World) -> tuple[Grid | None, DataScale]:
        return build_grid(CountedFeed(world, **feed), NULL, images=images, timesteps=TIMESTEPS, world=world)

    return on_every_rank(size, build)


def held(size: int, images: int, **feed: int) -> list[tuple[float, ...]]:
    """The samples that count, in the order of ranks: picture, noise, timestep, right and wrong caption."""
    found = []
    for grid, _ in grids(size, images, **feed):
        assert grid is not None
        columns = (grid.latents, grid.noise, grid.timesteps, grid.right, grid.wrong)
        firsts = [column.flatten(1)[:, 0] if column.dim() > 1 else column for column in columns]
        found += list(zip(*(first[: grid.count].tolist() for first in firsts), strict=True))
    return found


@pytest.mark.parametrize("images", [1, 3, 10, 16, 17, 40])
def test_every_world_holds_the_same_samples_once(images: int) -> None:
    alone = held(1, images)
    assert len(alone) == images
    for size in WORLDS[1:]:
        assert held(size, images) == alone, size


def test_the_grid_is_the_first_samples_whose_caption_was_not_dropped() -> None:
    first = [index for index in range(20) if index % 3][:10]
    assert [each[0] for each in held(4, 10)] == [index + 1 for index in first]
    assert [each[1] for each in held(4, 10)] == [-index - 1 for index in first]
    assert [each[3] for each in held(4, 10)] == [1 + index % 5 for index in first]


@pytest.mark.parametrize("size", WORLDS)
def test_a_wrong_caption_is_another_one_even_where_a_rank_holds_a_single_picture(size: int) -> None:
    samples = held(size, 16)
    assert all(wrong not in {right, 0} for *_, right, wrong in samples)
    assert all(grid is not None and grid.captions_differ for grid, _ in grids(size, 16))


@pytest.mark.parametrize("size", WORLDS)
@pytest.mark.parametrize(("images", "captions"), [(1, 5), (6, 1)])
def test_every_rank_knows_that_captions_cannot_differ(size: int, images: int, captions: int) -> None:
    for grid, _ in grids(size, images, captions=captions):
        assert grid is not None
        assert not grid.captions_differ


def test_timesteps_spread_over_the_forward_process() -> None:
    timesteps = sorted(each[2] for each in held(4, 16))
    gaps = [later - earlier for earlier, later in pairwise(timesteps)]
    assert max(gaps) < 2 * TIMESTEPS / 16
    assert len(set(timesteps)) == 16


@pytest.mark.parametrize("size", WORLDS)
def test_slices_are_equally_long_so_that_every_rank_can_take_part(size: int) -> None:
    found = [grid for grid, _ in grids(size, 10) if grid is not None]
    assert len(found) == size
    assert {len(grid.latents) for grid in found} == {-(-10 // size)}
    assert sum(grid.count for grid in found) == 10


@pytest.mark.parametrize("size", WORLDS)
def test_no_rank_has_a_grid_where_every_caption_is_dropped(size: int) -> None:
    assert [grid for grid, _ in grids(size, 4, dropped_every=1)] == [None] * size


def test_the_scale_of_the_data_is_that_of_one_process() -> None:
    (alone,) = {scale for _, scale in grids(1, 16)}
    for size in WORLDS[1:]:
        for _, scale in grids(size, 16):
            assert (scale.second_moment, scale.variance) == pytest.approx((alone.second_moment, alone.variance)), size
