"""One step: passes add up exactly, a bad step changes no weight, and the host is told what was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from accelerate import Accelerator

from t2i_trainer.checkpointing.state import TrainingState, module_tensors, optimizer_tensors
from t2i_trainer.data.feed import Batch
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.interruption import Interruption
from t2i_trainer.model import build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.step import TrainStep
from t2i_trainer.world import World

if TYPE_CHECKING:
    from t2i_api.job import JobSpec
    from t2i_trainer.step_result import StepResult

BATCH = 5
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world() -> World:
    return World(Accelerator(cpu=True), rank=0, local_rank=0, size=1, device=CPU)


def made(spec: JobSpec, world: World, *, micro_batch: int | None = None, average_every: int = 1) -> TrainStep:
    training = spec.training.model_copy(
        update={"global_batch_size": BATCH, "micro_batch_size": micro_batch, "learning_rate": 0.01}
    )
    spec = spec.model_copy(update={"training": training})
    unet = build_unet(spec, CPU)
    average = ExponentialMovingAverage(unet, 0.9, warms_up=False, power_widths=[0.1], every_steps=average_every)
    state = TrainingState(unet, average, build_optimizer(unet, training))
    return TrainStep(spec, world, state, Interruption())


def batch(number: int = 0, *, timesteps: tuple[int, ...] = (0, 249, 250, 600, 999)) -> Batch:
    generator = torch.Generator().manual_seed(number)
    latents, noise = torch.randn(2, BATCH, 12, 8, 8, generator=generator)
    return Batch(latents, noise, torch.tensor(timesteps), torch.randn(BATCH, 8, 16, generator=generator))


def tensors(step: TrainStep) -> dict[str, torch.Tensor]:
    """Weights and moments."""
    state = step.state
    return {
        **{f"unet.{name}": tensor.clone() for name, tensor in module_tensors(state.unet).items()},
        **{f"adamw.{name}": tensor.clone() for name, tensor in optimizer_tensors(state.unet, state.optimizer).items()},
    }


def only(step: TrainStep) -> StepResult:
    (result,) = step.stream.drain()
    return result


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4])
def test_passes_of_any_size_add_up_to_the_whole_batch(job_spec: JobSpec, world: World, micro_batch: int) -> None:
    """The last pass may be smaller; its samples count no more than others."""
    whole, parts = made(job_spec, world), made(job_spec, world, micro_batch=micro_batch)
    for each in (whole, parts):
        each.take(batch())
    mine, theirs = only(parts), only(whole)
    assert mine.loss == pytest.approx(theirs.loss, rel=1e-6)
    assert mine.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)
    # Adam's first step is the gradient's sign: only the moments tell how large it was.
    expected = tensors(whole)
    for name, tensor in tensors(parts).items():
        if name.startswith("adamw."):
            torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-7)


def test_losses_are_told_by_quarter_of_the_forward_process(job_spec: JobSpec, world: World) -> None:
    step = made(job_spec, world)
    step.take(batch())
    first, second, third, fourth = only(step).quartile_losses
    assert None not in (first, second, third, fourth)
    step.take(batch(timesteps=(0, 1, 2, 3, 4)))
    result = only(step)
    assert result.quartile_losses[0] == pytest.approx(result.loss)
    assert result.quartile_losses[1:] == (None, None, None)


@pytest.mark.parametrize("spoilt", ["latents", "conditioning"])
def test_a_step_that_is_not_finite_changes_no_weight(job_spec: JobSpec, world: World, spoilt: str) -> None:
    step = made(job_spec, world)
    step.take(batch(0))
    before = tensors(step)
    bad = batch(1)
    getattr(bad, spoilt)[2, 0] = math.nan
    step.take(bad)
    result = list(step.stream.drain())[-1]
    assert (result.step, result.finite, result.skipped, step.state.step) == (2, False, True, 2)
    after = tensors(step)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    step.take(batch(2))
    assert only(step).finite
    assert not torch.equal(tensors(step)["unet.conv_in.weight"], before["unet.conv_in.weight"])


def test_a_loss_above_the_limit_is_left_out_as_well(job_spec: JobSpec, world: World) -> None:
    step = made(job_spec, world)
    step.take(batch(0), loss_limit=100.0)
    before = tensors(step)
    step.take(batch(1), loss_limit=1e-6)
    first, second = step.stream.drain()
    assert (first.skipped, second.skipped, second.finite) == (False, True, True)
    after = tensors(step)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("every", [1, 2])
def test_averages_take_in_the_weights_that_a_bad_step_left_as_they_were(
    job_spec: JobSpec, world: World, every: int
) -> None:
    """Above all where averages are due every few steps: the steps before the bad one would never count."""
    step = made(job_spec, world, average_every=every)
    held = (step.state.unet, step.state.ema.module)
    weights, average = (dict(module.named_parameters())["conv_in.weight"].detach() for module in held)
    before = average.clone()
    step.take(batch(0))
    first = average.clone()
    bad = batch(1)
    bad.latents[:] = math.nan
    step.take(bad)
    torch.testing.assert_close(average, weights.lerp(first, 0.9 if every == 1 else 0.81))
    torch.testing.assert_close(step.state.ema.profiles[0].tensors["conv_in.weight"], weights)
    assert torch.equal(first, before) == (every == 2)


def test_a_wish_to_stop_travels_with_the_step(job_spec: JobSpec, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    step = made(job_spec, world)
    step.take(batch(0))
    assert not only(step).wants_stop
    monkeypatch.setattr(Interruption, "is_asked", property(lambda _self: True))
    step.take(batch(1))
    assert only(step).wants_stop
