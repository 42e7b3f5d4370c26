"""Pictures depend on weights, prompt and seed alone, and are laid out so that people can look at them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from tests.trainer.thread_world import on_every_rank

from t2i_checkpoint.local import LocalStore
from t2i_trainer.model import build_unet
from t2i_trainer.sample import draw_pictures, grid, seed_of, write_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_api.job import JobSpec
    from t2i_trainer.world import World

CPU = torch.device("cpu")
PROMPTS = torch.linspace(-1, 1, 3 * 8 * 16).view(3, 8, 16)


@dataclass(frozen=True)
class Alone:
    """A world of one process, or a rank that draws its share without adding up."""

    accelerator: Accelerator
    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values


class Asks:
    """Counts the questions whether to stop, and says yes from number `yes` on (0 is the first)."""

    def __init__(self, world: World, yes: float = math.inf) -> None:
        self._world = world
        self._yes = yes
        self.count = 0

    def __call__(self) -> bool:
        self.count += 1
        return self._world.on_any(self.count > self._yes)


@pytest.fixture
def drawn(job_spec: JobSpec) -> Callable[..., torch.Tensor]:
    unet = build_unet(job_spec, CPU).eval()
    null = torch.zeros(8, 16)

    def draw(rank: int = 0, size: int = 1, guidance: float = 1.5, prompts: torch.Tensor = PROMPTS) -> torch.Tensor:
        sampling = job_spec.sampling.model_copy(update={"guidance_scale": guidance})
        spec = job_spec.model_copy(update={"sampling": sampling})
        pictures = draw_pictures(unet, spec, prompts, null, cast("Any", Alone(Accelerator(cpu=True), rank, size)))
        assert pictures is not None
        return pictures

    return draw


def test_a_picture_is_the_same_each_time_and_whichever_rank_draws_it(drawn: Callable[..., torch.Tensor]) -> None:
    together = drawn()
    assert together.shape == (3, 3, 16, 16)
    assert torch.equal(together, drawn())
    shares = [drawn(rank, 2) for rank in (0, 1)]
    assert torch.equal(shares[0] + shares[1], together)


@pytest.mark.parametrize(("size", "turns"), [(1, 3), (2, 2), (3, 1), (5, 1)])
def test_every_rank_asks_before_each_inference_step_whether_it_draws_or_not(
    job_spec: JobSpec, drawn: Callable[..., torch.Tensor], size: int, turns: int
) -> None:
    """Ranks that did not ask as often as the others would wait for them for ever."""
    unet = build_unet(job_spec, CPU).eval()

    def work(world: World) -> tuple[torch.Tensor | None, int]:
        asks = Asks(world)
        return draw_pictures(unet, job_spec, PROMPTS, torch.zeros(8, 16), world, wants_stop=asks), asks.count

    for pictures, count in on_every_rank(size, work):
        assert count == turns * job_spec.sampling.inference_steps
        assert pictures is not None
        assert torch.equal(pictures, drawn())


@pytest.mark.parametrize("asked", [0, 1])
@pytest.mark.parametrize("yes", [0, 1, 3, 5])
def test_all_ranks_stop_at_the_first_question_after_one_of_them_was_asked_to(
    job_spec: JobSpec, asked: int, yes: int
) -> None:
    """Three pictures are six inference steps; in the last three, one of the two ranks has nothing to draw."""
    unet = build_unet(job_spec, CPU).eval()

    def work(world: World) -> tuple[torch.Tensor | None, int]:
        asks = Asks(world, yes if world.rank == asked else math.inf)
        return draw_pictures(unet, job_spec, PROMPTS, torch.zeros(8, 16), world, wants_stop=asks), asks.count

    assert on_every_rank(2, work) == [(None, yes + 1)] * 2


def test_guidance_moves_away_from_the_null_embedding(drawn: Callable[..., torch.Tensor]) -> None:
    assert not torch.equal(drawn(guidance=0.0), drawn(guidance=5.0))
    nulls = torch.zeros(3, 8, 16)
    assert torch.equal(drawn(guidance=0.0, prompts=nulls), drawn(guidance=5.0, prompts=nulls))


def test_each_prompts_seed_is_its_own(drawn: Callable[..., torch.Tensor], job_spec: JobSpec) -> None:
    first, second, _ = drawn(prompts=torch.zeros(3, 8, 16))
    assert not torch.equal(first, second)
    assert [seed_of(job_spec, index) for index in (0, 1)] == [job_spec.training.seed, job_spec.training.seed + 1]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_folder_that_was_begun_is_not_complete(tmp_path: Path, count: int) -> None:
    store, asks = LocalStore(tmp_path), iter([False] * count + [True])
    pictures = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    assert write_pictures(store, 40, pictures, ["one", "two", "three"], wants_stop=lambda: next(asks)) is None
    assert [info.key.rpartition("/")[2] for info in store.list("")] == [f"{number:04d}.png" for number in range(count)]


def test_pictures_and_grid_lie_in_the_folder_of_the_step(tmp_path: Path) -> None:
    pictures = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    pictures[1, 0] = 255
    store = LocalStore(tmp_path)
    uri = write_pictures(store, 40, pictures, ["one", "two", "three"])
    names = [info.key for info in store.list("")]
    assert names == [
        f"samples/step-00000040/{name}"
        for name in ("0000.png", "0001.png", "0002.png", "grid-small.webp", "grid.png", "prompts.json")
    ]
    assert uri == f"file://{tmp_path}/samples/step-00000040/grid.png"
    with Image.open(io.BytesIO(store.read(names[1]))) as image:
        assert image.getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (5, 3, 2), (9, 3, 3)])
def test_the_grid_is_as_square_as_possible(count: int, columns: int, rows: int) -> None:
    sheet = grid([Image.new("RGB", (8, 8), "red")] * count)
    assert sheet.size == (columns * 10 + 2, rows * 10 + 2)
