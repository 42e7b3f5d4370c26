"""What some ranks do with one small model, held by each whole (DDP) and shared between them, and what they find.

Every rank writes its findings; the tests read them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from accelerate import Accelerator

from t2i_api.job import JobSpec
from t2i_api.spec_training import Parallelism, Precision
from t2i_checkpoint import layout
from t2i_trainer.checkpointing.state import (
    TrainingState,
    load_module,
    load_optimizer,
    read_tensors,
    tensor_files,
    weights_sha256,
    write_tensors,
)
from t2i_trainer.data.feed import Batch
from t2i_trainer.diffusion import ForwardProcess
from t2i_trainer.ema import ExponentialMovingAverage, copy_for_average
from t2i_trainer.evaluation import evaluate
from t2i_trainer.evaluation_grid import Grid
from t2i_trainer.interruption import Interruption
from t2i_trainer.model import build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.sample import draw_pictures
from t2i_trainer.sharding import shard, shards
from t2i_trainer.shares import gathered, help_gathering, is_sharded, share_of, whole
from t2i_trainer.step import TrainStep
from t2i_trainer.world import World, make_deterministic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from t2i_trainer.step_result import StepResult

GOOD_STEPS = 3
SHARE = 2  # pictures a rank
# Who wrote what is loaded, and how it is held then.
CHANGES = [(a, b) for a in Parallelism for b in Parallelism if Parallelism.FULL_SHARD in {a, b}]


@dataclass(frozen=True)
class Held:
    """One way of holding the model: how many elements of the state this rank keeps, and of how many; what it found."""

    mine: int
    all: int
    losses: list[float]
    norms: list[float]
    skipped: list[bool]
    unchanged_by_the_bad_step: bool
    evaluation: list[float]
    pictures: list[int]
    names: dict[str, list[str]]
    weights_sha256: str


@dataclass(frozen=True)
class Findings:
    """What one rank found."""

    whole: Held
    sharded: Held
    gathered_average_is_the_average: bool
    kept_elsewhere: int
    loaded: dict[str, bool]
    next_losses: dict[str, float]


def work(folder: Path) -> None:
    """Be one rank."""
    spec = JobSpec.model_validate_json((folder / "spec.json").read_text())
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if spec.training.precision is Precision.BF16 else "no")
    rank = accelerator.process_index
    world = World(accelerator, rank, rank, accelerator.num_processes, torch.device("cpu"))
    make_deterministic(world.device)
    findings = _compare(spec, world, folder)
    (folder / f"{rank}.json").write_text(json.dumps(asdict(findings)))
    dist.destroy_process_group()


def _compare(spec: JobSpec, world: World, folder: Path) -> Findings:
    steps = {each: _step(spec, world, each) for each in Parallelism}
    held = {each: _train(step, spec, world) for each, step in steps.items()}
    files = {each: _written(step.state, folder / each, world) for each, step in steps.items()}
    average = steps[Parallelism.FULL_SHARD].state.ema.module
    kept = gathered(average, keep=world.leads)
    stored = read_tensors(files[Parallelism.FULL_SHARD] / layout.EMA_WEIGHTS)
    loaded, following = {}, {}
    for origin, mine in CHANGES:
        how = f"{origin} by {mine}"
        step = _step(spec, world, mine, seed=1)
        _load(step.state, files[origin])
        loaded[how] = _is_equal(tensor_files(step.state), files[origin])
        step.state.step = steps[origin].state.step
        step.take(_batch(spec, world, GOOD_STEPS + 1))
        following[how] = _measured(step)[-1].loss
    for origin, step in steps.items():
        step.take(_batch(spec, world, GOOD_STEPS + 1))
        following[origin] = _measured(step)[-1].loss
    return Findings(
        whole=held[Parallelism.DATA_PARALLEL],
        sharded=held[Parallelism.FULL_SHARD],
        gathered_average_is_the_average=all(torch.equal(kept[name], stored[name]) for name in kept),
        kept_elsewhere=len(kept),
        loaded=loaded,
        next_losses=following,
    )


def _step(spec: JobSpec, world: World, parallelism: Parallelism, seed: int = 0) -> TrainStep:
    training = spec.training.model_copy(update={"parallelism": parallelism, "seed": seed})
    spec = spec.model_copy(update={"training": training})
    unet = build_unet(spec, world.device)
    average = copy_for_average(unet)
    if shards(training, world):
        for module in (average, unet):
            shard(module, training, world)
    ema = training.ema
    averages = ExponentialMovingAverage(unet, ema.decay, power_widths=ema.power_widths, module=average)
    return TrainStep(spec, world, TrainingState(unet, averages, build_optimizer(unet, training)), Interruption())


def _batch(spec: JobSpec, world: World, number: int) -> Batch:
    generator = torch.Generator().manual_seed(world.size * number + world.rank)
    channels = spec.model.unet.resolved.in_channels
    latents, noise = torch.randn(2, SHARE, channels, 8, 8, generator=generator)
    timesteps = torch.randint(0, 1000, (SHARE,), generator=generator)
    return Batch(latents, noise, timesteps, torch.randn(SHARE, 8, 16, generator=generator))


def _train(step: TrainStep, spec: JobSpec, world: World) -> Held:
    step.warm_up(_batch(spec, world, 0))
    results = []
    for number in range(GOOD_STEPS):
        step.take(_batch(spec, world, number))
        results += _measured(step)
    before = _copied(_weights_and_moments(step.state))
    bad = _batch(spec, world, GOOD_STEPS)
    if world.rank == 1:  # which spoils the step of all
        bad = replace(bad, latents=bad.latents * torch.nan)
    step.take(bad)
    results += _measured(step)
    evaluation, pictures = _evaluation(step, spec, world), _pictures(step, spec, world)
    files = tensor_files(step.state)
    after = _copied(_weights_and_moments(step.state))
    every = [tensor for held in files.values() for tensor in held.values()]
    return Held(
        mine=sum(share_of(tensor).numel() for tensor in every),
        all=sum(tensor.numel() for tensor in every),
        losses=[each.loss for each in results[:-1]],
        norms=[each.gradient_norm for each in results[:-1]],
        skipped=[each.skipped for each in results],
        unchanged_by_the_bad_step=all(torch.equal(before[name], after[name]) for name in before),
        evaluation=evaluation,
        pictures=pictures,
        names={path: list(held) for path, held in files.items()},
        weights_sha256=weights_sha256(step.state.unet),
    )


def _measured(step: TrainStep) -> list[StepResult]:
    return list(step.stream.drain())


def _weights_and_moments(state: TrainingState) -> Mapping[str, Mapping[str, torch.Tensor]]:
    files = tensor_files(state)
    return {path: files[path] for path in (layout.WEIGHTS, layout.OPTIMIZER)}


def _copied(files: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return what this rank holds, as it is now."""
    every = {f"{path} {name}": tensor for path, held in files.items() for name, tensor in held.items()}
    return {name: share_of(tensor).clone() for name, tensor in every.items()}


def _evaluation(step: TrainStep, spec: JobSpec, world: World) -> list[float]:
    batch = _batch(spec, world, 0)
    texts = batch.conditioning
    # The last rank has nothing of its own; it takes part all the same.
    count = SHARE if world.rank + 1 < world.size else 0
    wrong = texts.roll(1, 0)
    grid = Grid(
        batch.latents,
        batch.noise,
        batch.timesteps,
        texts,
        wrong,
        torch.zeros_like(texts),
        count=count,
        captions_differ=True,
    )
    with torch.no_grad():
        gap = evaluate(step.state.unet, ForwardProcess(spec.diffusion, world.device), grid, world)
    return [] if gap is None else [gap.right, gap.wrong, gap.null]


def _pictures(step: TrainStep, spec: JobSpec, world: World) -> list[int]:
    """Draw three prompts, which the ranks cannot share evenly."""
    prompts = torch.linspace(-1, 1, 3 * 8 * 16).view(3, 8, 16)
    pictures = draw_pictures(step.state.ema.module, spec, prompts, torch.zeros(8, 16), world)
    numbers: list[int] = [] if pictures is None else pictures.flatten().tolist()
    return numbers


def _written(state: TrainingState, folder: Path, world: World) -> Path:
    """Write the state as a checkpoint holds it, by rank 0, and return where."""
    files = tensor_files(state)
    if world.leads:
        for path, held in files.items():
            write_tensors(folder / path, held)
    elif is_sharded(state.unet):
        help_gathering(files)
    world.wait()
    return folder


def _load(state: TrainingState, folder: Path) -> None:
    load_module(state.unet, read_tensors(folder / layout.WEIGHTS))
    load_module(state.ema.module, read_tensors(folder / layout.EMA_WEIGHTS))
    for path in state.ema.profile_tensors():
        state.ema.load_profile(path, read_tensors(folder / path))
    load_optimizer(state.unet, state.optimizer, read_tensors(folder / layout.OPTIMIZER))


def _is_equal(files: Mapping[str, Mapping[str, torch.Tensor]], folder: Path) -> bool:
    """Whether every tensor is the stored one, bit for bit."""
    equal = True
    for path, held in files.items():
        stored = read_tensors(folder / path)
        equal &= stored.keys() == held.keys()
        for name, tensor in held.items():
            equal &= torch.equal(whole(tensor), stored[name])
    return equal
