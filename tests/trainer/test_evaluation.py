"""An evaluation tells the same of a model however many ranks share the grid; what only fills it up does not count."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import pytest
import torch
from tests.trainer.thread_world import on_every_rank

from t2i_trainer.data.feed import Batch
from t2i_trainer.diffusion import ForwardProcess
from t2i_trainer.evaluation import evaluate
from t2i_trainer.evaluation_grid import build_grid
from t2i_trainer.model import build_unet
from t2i_trainer.sanity.captions import judge_gap

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_api.job import JobSpec
    from t2i_trainer.sanity.captions import CaptionGap
    from t2i_trainer.world import World

CPU = torch.device("cpu")
GLOBAL_BATCH = 16
NULL = torch.zeros(8, 16)


@dataclass(frozen=True)
class RandomFeed:
    """A rank's share of random batches."""

    world: World

    def batch(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        latents, noise = torch.randn(2, GLOBAL_BATCH, 12, 8, 8, generator=generator)
        texts = torch.randn(GLOBAL_BATCH, *NULL.shape, generator=generator)
        share = GLOBAL_BATCH // self.world.size
        mine = self.world.rank * share
        return Batch(0.5 * latents, noise, torch.arange(GLOBAL_BATCH), texts).part(mine, mine + share)


@pytest.fixture
def gaps(job_spec: JobSpec) -> Callable[..., list[CaptionGap | None]]:
    """What each rank of a world finds of a fresh model; `filling` stands in the samples that do not count."""
    unet = build_unet(job_spec, CPU).eval()
    forward = ForwardProcess(job_spec.diffusion, CPU)

    def find(size: int, images: int, filling: float | None = None) -> list[CaptionGap | None]:
        def work(world: World) -> CaptionGap | None:
            grid, _ = build_grid(RandomFeed(world), NULL, images=images, timesteps=1000, world=world)
            if grid is not None and filling is not None:
                latents = grid.latents.clone()
                latents[grid.count :] = filling
                grid = replace(grid, latents=latents)
            return evaluate(unet, forward, grid, world)

        return on_every_rank(size, work)

    return find


@pytest.mark.parametrize("images", [3, 16])
@pytest.mark.parametrize("size", [2, 4, 16])
def test_every_world_finds_what_one_process_finds(
    gaps: Callable[..., list[CaptionGap | None]], size: int, images: int
) -> None:
    (alone,), together = gaps(1, images), gaps(size, images)
    assert alone is not None
    for gap in together:
        assert gap is not None
        assert asdict(gap) == pytest.approx(asdict(alone), rel=1e-4)


@pytest.mark.parametrize("size", [4, 16])
def test_a_healthy_run_with_one_picture_a_rank_raises_no_finding(
    gaps: Callable[..., list[CaptionGap | None]], size: int
) -> None:
    gap = gaps(size, images=size)[0]
    assert gap is not None
    assert gap.answer_power > 0
    assert gap.reaction > 0
    assert judge_gap(gap, step=1, passes=0.4, trivial=0.8) == []


def test_what_fills_a_slice_up_does_not_count(gaps: Callable[..., list[CaptionGap | None]]) -> None:
    assert gaps(4, 5, filling=torch.nan) == gaps(4, 5)
