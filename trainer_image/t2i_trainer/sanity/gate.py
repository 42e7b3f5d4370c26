"""The gate: looks at a run beside its steps, most closely at the first 200, and says what cannot be right.

It changes nothing and decides nothing; what it measures is judged by the pure modules of this folder. On most steps it
only remembers; it makes the host wait for the device on fourteen of the first 200 steps and on every 500th.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from t2i_api.spec_training import PredictionType
from t2i_trainer.diffusion import ForwardProcess
from t2i_trainer.evaluation import evaluate
from t2i_trainer.evaluation_grid import build_grid
from t2i_trainer.sanity import batches, movement
from t2i_trainer.sanity.captions import judge_gap
from t2i_trainer.sanity.losses import LearningCheck, judge_first_loss
from t2i_trainer.sanity.probe import Probe, fingerprint, trained
from t2i_trainer.sanity.rates import RateProbe, scheduled_rate
from t2i_trainer.sanity.repeats import BatchMarks, RepeatCheck
from t2i_trainer.sanity.schedule import alphas_cumprod, judge_schedule
from t2i_trainer.sanity.theory import levels
from t2i_trainer.shares import is_sharded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from t2i_api.findings import Finding
    from t2i_api.job import JobSpec
    from t2i_trainer.checkpointing.state import TrainingState
    from t2i_trainer.data.feed import Batch, Feed
    from t2i_trainer.ema import ExponentialMovingAverage
    from t2i_trainer.sanity.captions import CaptionGap
    from t2i_trainer.step_result import StepResult
    from t2i_trainer.world import World

GATE_STEPS = 200
_CLOSE_LOOKS = frozenset({1, 2, 10, 25, 50, 100, 150, GATE_STEPS})
_CLOSE_LOOK_EVERY = 500
_EARLY_BATCHES = 8
_BASELINE_STEPS = 100
# A few evaluations of its own: is conditioning connected, is it understood at the end of the gate and later on.
_EVALUATIONS = frozenset({1, GATE_STEPS, 1000, 3000, 10_000, 30_000, 100_000, 300_000})
_OUTPUT_WEIGHT = f"{movement.OUTPUT_LAYER}weight"
# Fourier features are drawn once and never trained.
_UNTRAINED = ("time_proj.weight",)
# Attention over a single place is 1 whatever the query: no gradient reaches these.
_QUERIES = (".to_q.weight", ".to_q.bias", ".to_k.weight", ".to_k.bias")


@dataclass(frozen=True)
class Watched:
    """What the gate looks at; `seen` are the marks of the batches of earlier attempts by step."""

    spec: JobSpec
    world: World
    state: TrainingState
    feed: Feed
    null_embedding: torch.Tensor
    dataset_size: int
    is_fresh: bool
    seen: Mapping[int, str]


class SanityGate:
    """One attempt's gate; every rank calls the same methods in the same order."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        spec, world, state = watched.spec, watched.world, watched.state
        self._first = state.step + 1
        self._forward = ForwardProcess(spec.diffusion, world.device)
        self._noise_power = 1 + spec.diffusion.offset_noise**2
        self._kept = self._share_of_noise()
        self._weights = Probe(trained(state.unet, untrained=_untrained(spec)))
        self._averages = Probe(_tensors_of(state.ema))
        self._rate = RateProbe(state.optimizer)
        self._marks = BatchMarks(world.device)
        self._repeats = RepeatCheck(watched.seen)
        self._grid, scale = build_grid(
            watched.feed,
            watched.null_embedding,
            images=self.images,
            timesteps=spec.diffusion.train_timesteps,
            world=world,
        )
        self._levels = levels(
            self._forward.alphas_cumprod.double().cpu().numpy(),
            spec.diffusion.prediction_type,
            scale,
            self._noise_power,
        )
        rates = (scheduled_rate(step, spec.training) for step in count(1))
        self._learning = LearningCheck.of_run(
            self._levels, rates, _output_features(state.unet), spec.training.global_batch_size
        )
        self._rates: dict[int, float] = {}
        self._nulls = (0, 0)
        self._first_power: float | None = None
        self._said: set[str] = set()
        self._settle_baseline()

    @property
    def images(self) -> int:
        """Pictures of the grid: the job's, or as few as half a step costs where it asked for no curve."""
        spec = self._watched.spec
        if spec.evaluation.every_steps is not None:
            return spec.evaluation.images
        return max(2, min(spec.evaluation.images, spec.training.global_batch_size // 2))

    def begin(self) -> list[Finding]:
        """Judge what can be judged before the first step."""
        used = self._forward.alphas_cumprod.double().cpu().numpy()
        return self._new(judge_schedule(used, self._watched.spec.diffusion))

    def before(self, batch: Batch) -> None:
        """Remember what is there before a step."""
        step = self._watched.state.step + 1
        if self._is_close(step):
            self._rate.hold()
        self._marks.hold(step, batch)

    def after(self, batch: Batch) -> list[Finding]:
        """Look at batch and weights after the step was launched."""
        step = self._watched.state.step
        self._rates[step] = scheduled_rate(step, self._watched.spec.training)
        found: list[Finding] = []
        if self._is_close(step) or step - self._first < _EARLY_BATCHES:
            found += self._look_at_batch(batch, step)
        if self._is_close(step):
            found += self._look_at_weights(batch, step)
        return self._new(found)

    def recognise(self, step: int) -> tuple[str | None, list[Finding]]:
        """Return the mark of the batch of a step that was heard: it goes into the step's row of metrics."""
        mark = self._marks.read(step)
        return mark, [] if mark is None else self._new(self._repeats.observe(step, mark))

    def observe(self, result: StepResult) -> list[Finding]:
        """Take in the measures of a step."""
        if result.skipped:
            self._rates.pop(result.step, None)
            return []
        found: list[Finding] = []
        if result.step == 1 and self._watched.is_fresh and self._first_power is not None:
            channels = self._watched.spec.model.unet.resolved.out_channels
            found += judge_first_loss(result.loss, self._first_power, channels, result.step)
        found += self._learning.observe(result)
        return self._new(found)

    def begin_again(self) -> None:
        """Compare with the weights as they are now: they were replaced."""
        self._settle_baseline()

    def is_evaluation_due(self) -> bool:
        """Whether the grid is to be evaluated after this step."""
        step, every = self._watched.state.step, self._watched.spec.evaluation.every_steps
        return step in _EVALUATIONS or (every is not None and step % every == 0)

    def evaluate(self) -> tuple[CaptionGap | None, list[Finding]]:
        """Evaluate the grid with the weights as they are."""
        watched, grid = self._watched, self._grid
        with torch.no_grad():
            gap = evaluate(watched.state.unet, self._forward, grid, watched.world)
        if gap is None or grid is None or not grid.captions_differ:
            return gap, []
        step = watched.state.step
        due = self._learning.judged_from
        passes = step * watched.spec.training.global_batch_size / watched.dataset_size
        if due is None or step < 2 * due:
            passes = 0.0  # it has hardly begun to learn anything
        return gap, self._new(judge_gap(gap, step=step, passes=passes, trivial=self._levels.mean_trivial))

    def _look_at_batch(self, batch: Batch, step: int) -> list[Finding]:
        watched, spec = self._watched, self._watched.spec
        target = self._forward.target(batch.latents, batch.noise, batch.timesteps)
        sums = batches.measure(batch, target, self._kept, self._noise_power, watched.null_embedding)
        facts = batches.BatchFacts.from_list(watched.world.sum(sums).tolist())
        if step == 1:
            self._first_power = facts.target_power
        self._nulls = (self._nulls[0] + facts.samples, self._nulls[1] + facts.null_samples)
        draws = facts.samples * batch.latents.shape[1]
        slack = spec.diffusion.offset_noise**2 * 12 * math.sqrt(2 / draws)
        factor = None if spec.model.vae is None else spec.model.vae.scaling_factor
        return [
            *batches.judge_scale(facts, factor, step),
            *batches.judge_target(facts, step, slack),
            *batches.judge_null(*self._nulls, spec.diffusion.conditioning_dropout, step),
        ]

    def _look_at_weights(self, batch: Batch, step: int) -> list[Finding]:
        spec, world = self._watched.spec, self._watched.world
        numbers = self._weights.look()
        scheduled = scheduled_rate(step, spec.training)
        found = movement.judge_rate(self._rate.measure(scheduled), scheduled, step, world.size)
        if world.size > 1:
            found += self._compare_ranks(batch, numbers, step)
        steps = step - self._baseline_step
        span = movement.Span(tuple(self._rates.values()), spec.training.weight_decay)
        if steps < movement.LEAST_STEPS or len(span.rates) < movement.LEAST_STEPS:
            return found
        now = self._weights.split(numbers)
        still = movement.still_tensors(self._baseline, now, span)
        output = [each for name, each in zip(self._weights.names, now, strict=True) if name.startswith(_OUTPUT_WEIGHT)]
        is_zero = bool(output) and not any(each.any() for each in output)
        found += movement.judge_movement(self._weights.names, still, step, steps, output_is_zero=is_zero)
        if steps >= 2 * spec.training.ema.every_steps and not np.all(still):
            averages = self._averages.split(self._averages.look())
            before, names = self._averages_baseline, self._averages.names
            found += movement.judge_averages(names, before, averages, step=step, steps=steps)
        if steps >= _BASELINE_STEPS:
            self._settle_baseline()
        return found

    def _compare_ranks(self, batch: Batch, weights: torch.Tensor, step: int) -> list[Finding]:
        world = self._watched.world
        table = torch.zeros(world.size, 2, dtype=torch.float64, device=world.device)
        table[world.rank, 0] = fingerprint(batch.noise[0].float())
        table[world.rank, 1] = fingerprint(weights)
        noise, held = world.sum(table).T.tolist()
        if is_sharded(self._watched.state.unet):  # no weight is held twice: there is nothing to compare
            return batches.judge_rank_noise(noise, step)
        return [*batches.judge_rank_noise(noise, step), *batches.judge_rank_weights(held, step)]

    def _settle_baseline(self) -> None:
        self._baseline_step = self._watched.state.step
        self._baseline = self._weights.split(self._weights.look())
        self._averages_baseline = self._averages.split(self._averages.look())
        self._rates.clear()

    def _share_of_noise(self) -> torch.Tensor:
        diffusion = self._watched.spec.diffusion
        if diffusion.prediction_type is PredictionType.EPSILON:
            return torch.ones(diffusion.train_timesteps, device=self._watched.world.device)
        return torch.from_numpy(alphas_cumprod(diffusion)).to(self._watched.world.device)

    def _is_close(self, step: int) -> bool:
        return step in _CLOSE_LOOKS or step % _CLOSE_LOOK_EVERY == 0 or step == self._first

    def _new(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return what was not said before in this attempt."""
        fresh = []
        for finding in findings:
            if finding.name not in self._said:
                self._said.add(finding.name)
                fresh.append(finding)
        return fresh


def _untrained(spec: JobSpec) -> tuple[str, ...]:
    """Return ends of the names of parameters that get no gradient in a model of this config."""
    side = spec.data.resolution // spec.model.pixel_unshuffle_factor
    if spec.model.vae is not None:
        side //= 8
    smallest = side >> (len(spec.model.unet.resolved.block_out_channels) - 1)
    own = [f"attn1{each}" for each in _QUERIES] if smallest <= 1 else []
    text = [f"attn2{each}" for each in _QUERIES] if spec.model.text_encoder.max_tokens == 1 else []
    return tuple(chain(_UNTRAINED, own, text))


def _tensors_of(ema: ExponentialMovingAverage) -> dict[str, torch.Tensor]:
    """Return the tensors of all averages as `movement.judge_averages` wants them called."""
    averages: dict[str, Mapping[str, torch.Tensor]] = {movement.CLASSIC: dict(ema.module.named_parameters())}
    averages |= {f"{profile.width:g}": profile.tensors for profile in ema.profiles}
    return {f"{average}/{name}": tensor for average, tensors in averages.items() for name, tensor in tensors.items()}


def _output_features(unet: torch.nn.Module) -> int:
    """Return how many weights make one number of the output: 9 C for Diffusers' UNet."""
    layer: Any = getattr(unet, "conv_out", None)
    return int(layer.weight.shape[1:].numel()) if layer is not None else 1
