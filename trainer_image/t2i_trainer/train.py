"""The training run, as a story: prepare, step by step, hear what the steps measured, save and draw on the way, finish.

Everything that a step needs is a pure function of its number; what lives is in `TrainingState`. The host is one step
ahead of what it hears, so the device never waits for it (`step.py`, `step_stream.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.progress import ExitCode, TrainerPhase
from t2i_trainer.checkpointing.saver import Saver
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.failures import Interrupted, TrainerError
from t2i_trainer.metrics_log import MetricsRow
from t2i_trainer.prepare import prepare
from t2i_trainer.sample import draw_pictures, write_pictures
from t2i_trainer.step import TrainStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.interruption import Interruption
    from t2i_trainer.prepare import Prepared
    from t2i_trainer.step_result import StepResult
    from t2i_trainer.telemetry import Telemetry
    from t2i_trainer.world import World


def train(configuration: RunConfiguration, world: World, telemetry: Telemetry, interruption: Interruption) -> None:
    """Run the attempt to its last step; raises Interrupted after a stop on request, others on failure."""
    prepared = prepare(configuration, world, telemetry)
    interruption.defer()
    with Saver(configuration, world, telemetry) as saver:
        _train(Run(configuration, world, telemetry, interruption, prepared, saver))
    telemetry.enter(TrainerPhase.FINISHED)


def _train(run: Run) -> None:
    spec = run.configuration.spec
    run.begin()
    while run.state.step < spec.training.steps:
        run.saver.look()
        batch = run.feed.batch(run.state.step)
        run.step.take(batch)
        run.hear(run.step.stream.ready())
        last = run.state.step == spec.training.steps
        # Pictures first: a run that is killed in between goes on from before this step, and draws them again.
        if last or (not run.wants_stop and run.is_due(spec.sampling.every_steps)):
            run.draw()
        if last or run.wants_stop or run.is_due(spec.checkpoint.every_steps):
            run.save(batch)
        if last or run.wants_stop:
            run.settle()
        if run.wants_stop and not last:
            raise Interrupted(run.state.step, run.telemetry.progress.last_checkpoint or "a checkpoint")


@dataclass
class Run:
    """One attempt under way; `wants_stop` turns true at the same step on every rank."""

    configuration: RunConfiguration
    world: World
    telemetry: Telemetry
    interruption: Interruption
    prepared: Prepared
    saver: Saver
    wants_stop: bool = False

    def __post_init__(self) -> None:
        self.state = self.prepared.state
        self.feed = self.prepared.feed
        self.step = TrainStep(self.configuration.spec, self.world, self.state, self.interruption)

    def begin(self) -> None:
        """Do what comes before the first step."""
        if self.state.step < self.configuration.spec.training.steps:
            self.step.settle_gradient_buckets(self.feed.batch(self.state.step))
        self._enter_training()

    def hear(self, results: Iterator[StepResult]) -> None:
        """Take note of what steps measured."""
        for result in results:
            self.wants_stop = self.wants_stop or result.wants_stop
            self._check_finite(result)
            self.telemetry.stepped(result)
            if self.world.leads:
                self._record(result)

    def is_due(self, every_steps: int | None) -> bool:
        """Whether something that happens every so many steps happens after this one."""
        return every_steps is not None and self.state.step % every_steps == 0

    def save(self, batch: Batch) -> None:
        """Take a snapshot of the step just taken; it is uploaded and committed while training goes on."""
        self._pause(TrainerPhase.SAVING)
        self.saver.save(
            state=self.state,
            batch=batch,
            trainer_state=TrainerState(
                step=self.state.step,
                dataset_size=self.prepared.facts.dataset_size,
                dataset_sha256=self.prepared.dataset_sha256,
                loss_smoothed=self.telemetry.progress.loss_smoothed,
            ),
            facts=self.prepared.facts,
            metrics=self.prepared.metrics.to_bytes(),
        )
        self._enter_training()

    def settle(self) -> None:
        """Wait until the last save is committed, on every rank."""
        self.telemetry.enter(TrainerPhase.SAVING)
        self.saver.settle()

    def draw(self) -> None:
        """Draw the prompts from the averaged weights and write the pictures."""
        if not len(self.prepared.prompts):
            return
        self._pause(TrainerPhase.SAMPLING)
        known = self.prepared
        pictures = draw_pictures(
            self.state.ema.module, self.configuration.spec, known.prompts, known.facts.null_embedding, self.world
        )
        if self.world.leads:
            self.telemetry.drew(write_pictures(known.store, self.state.step, pictures))
        self._enter_training()

    def _pause(self, phase: TrainerPhase) -> None:
        """Hear every step so far, before something that needs to know them all."""
        self.hear(self.step.stream.drain())
        self.telemetry.enter(phase)

    def _enter_training(self) -> None:
        self.telemetry.enter(TrainerPhase.TRAINING)
        self.step.stream.restart_clock()

    def _check_finite(self, result: StepResult) -> None:
        if result.finite:
            return
        self.telemetry.met_non_finite()
        known = self.telemetry.progress.last_checkpoint
        raise TrainerError(
            ExitCode.NON_FINITE_LOSS,
            f"step {result.step}: loss {result.loss}, gradient norm {result.gradient_norm}. The step was not taken; "
            f"the last checkpoint is {known or 'none'}. Lower training.learningRate or raise training.warmupSteps",
        )

    def _record(self, result: StepResult) -> None:
        row = MetricsRow(
            step=result.step,
            loss=result.loss if result.finite else None,
            gradientNorm=result.gradient_norm if result.finite else None,
            learningRate=result.learning_rate,
            imagesPerSecond=self.telemetry.progress.images_per_second or 0.0,
            attempt=self.configuration.attempt.attempt,
        )
        self.prepared.metrics.append(row)
