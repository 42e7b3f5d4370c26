"""The training run, as a story: prepare, step by step, hear what the steps measured, save and draw on the way, publish.

Everything that a step needs is a pure function of its number; what lives is in `TrainingState`. The host is one step
ahead of what it hears, so the device never waits for it (`step.py`, `step_stream.py`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.progress import TrainerPhase
from t2i_checkpoint import layout
from t2i_trainer.checkpointing.saver import Saver
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.failures import Interrupted
from t2i_trainer.going_back import go_back
from t2i_trainer.metrics_log import MetricsRow
from t2i_trainer.pipeline import FinishedModel, write_pipeline
from t2i_trainer.prepare import prepare
from t2i_trainer.report.history import Newer
from t2i_trainer.report.writer import ReportWriter
from t2i_trainer.sample import draw_pictures, write_pictures
from t2i_trainer.shares import gathered
from t2i_trainer.speed import Speed
from t2i_trainer.step import TrainStep
from t2i_trainer.trackers import Trackers, check_trackers, open_trackers
from t2i_trainer.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.interruption import Interruption
    from t2i_trainer.prepare import Prepared
    from t2i_trainer.step_result import StepResult
    from t2i_trainer.telemetry import Telemetry
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")

# What a stop leaves to the next attempt, as a step's row names it.
_EVALUATION, _PICTURES = "evaluation", "pictures"


def train(configuration: RunConfiguration, world: World, telemetry: Telemetry, interruption: Interruption) -> None:
    """Run the attempt to its last step; raises Interrupted after a stop on request, others on failure."""
    check_trackers(configuration.spec.training.trackers)
    prepared = prepare(configuration, world, telemetry)
    interruption.defer()
    trackers = open_trackers(configuration, prepared.store) if world.leads else Trackers(())
    report = ReportWriter(configuration, _newer_rows(prepared, telemetry) if world.leads else None)
    with report, Saver(configuration, world, telemetry) as saver, trackers:
        _train(Run(configuration, world, telemetry, interruption, prepared, saver, trackers, report))
    telemetry.enter(TrainerPhase.FINISHED)


def _newer_rows(prepared: Prepared, telemetry: Telemetry) -> Callable[[], Newer]:
    """Return what gives the rows that no committed save has brought to the store."""

    def newer() -> Newer:
        known = telemetry.progress.last_checkpoint_step or 0
        return Newer(known, prepared.metrics.after(known))

    return newer


def _train(run: Run) -> None:
    spec = run.configuration.spec
    run.begin()
    run.make_up()
    while run.state.step < spec.training.steps:
        batch = run.advance()
        if run.watch.roll_back is not None:
            run.go_back()
        if run.watch.is_evaluation_due:
            run.evaluate()
        # Pictures first: a run that is killed in between goes on from before this step, and draws them again.
        if run.are_pictures_due:
            run.draw()
        last = run.state.step == spec.training.steps
        if last or run.wants_stop or run.is_due(spec.checkpoint.every_steps):
            run.save(batch)
        if last or run.wants_stop:
            run.settle()
        if run.wants_stop and not last:
            raise run.interrupted()
    if run.owes:
        raise run.interrupted()
    run.publish_model()


@dataclass
class Run:
    """One attempt under way; `wants_stop` turns true at the same place on every rank.

    `owes`: something due after this step was left out for a stop; the next attempt makes up for it.
    """

    configuration: RunConfiguration
    world: World
    telemetry: Telemetry
    interruption: Interruption
    prepared: Prepared
    saver: Saver
    trackers: Trackers
    report: ReportWriter
    wants_stop: bool = False
    owes: bool = False

    def __post_init__(self) -> None:
        self.state = self.prepared.state
        self.feed = self.prepared.feed
        self.step = TrainStep(self.configuration.spec, self.world, self.state, self.interruption)
        self.watch = Watch(self.configuration, self.world, self.telemetry, self.prepared)
        self.speed = Speed(self.configuration.spec, self.world, self.telemetry.figures)

    def begin(self) -> None:
        """Do what comes before the first step: compile, let DDP order its buckets, count the arithmetic."""
        if self.state.step < self.configuration.spec.training.steps:
            batch = self.feed.batch(self.state.step)
            self.step.warm_up(batch)
            self.speed.begin(batch)
        self._enter_training()

    def make_up(self) -> None:
        """Do what was left out for a stop after the step that is resumed; raises Interrupted."""
        left_out = self.prepared.metrics.left_out(self.state.step) if self.world.leads else frozenset()
        owed = [what for what in (_EVALUATION, _PICTURES) if self.world.on_any(what in left_out)]
        for what in owed:
            if what == _EVALUATION:
                self.evaluate()
            else:
                self.draw()
        if self.owes:  # nothing was done yet that is not saved
            raise self.interrupted()
        if owed and self.state.step == self.configuration.spec.training.steps:  # no save follows
            rows = self.prepared.metrics.to_bytes()
            self.world.run_where(self.world.leads, lambda: self.prepared.store.put(layout.METRICS, rows))

    def advance(self) -> Batch:
        """Take one step and hear the one before; returns the batch that it was taken on."""
        self.saver.look()
        self.report.look()
        with self.speed.waiting():
            batch = self.feed.batch(self.state.step)
        self.watch.before(batch)
        self.step.take(batch, self.watch.loss_limit)
        self.watch.after(batch)
        self.hear(self.step.stream.ready())
        return batch

    def hear(self, results: Iterator[StepResult]) -> None:
        """Take note of what steps measured."""
        for result in results:
            self.wants_stop = self.wants_stop or result.wants_stop
            self.telemetry.stepped(result)
            self.speed.hear(result)
            self.trackers.hear(result)
            self.watch.hear(result)
            if self.world.leads:
                self._record(result)

    def is_due(self, every_steps: int | None) -> bool:
        """Whether something that happens every so many steps happens after this one."""
        return every_steps is not None and self.state.step % every_steps == 0

    @property
    def are_pictures_due(self) -> bool:
        """Whether pictures are drawn after this step: every so often, and after the last one."""
        spec = self.configuration.spec
        return self.state.step == spec.training.steps or self.is_due(spec.sampling.every_steps)

    def interrupted(self) -> Interrupted:
        """Return what ends an attempt that was asked to stop, once its step is saved."""
        return Interrupted(self.state.step, self.telemetry.progress.last_checkpoint or "a checkpoint")

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
                skipped=self.watch.skipped,
            ),
            facts=self.prepared.facts,
            metrics=self.prepared.metrics.to_bytes(),
        )
        self.report.wish()
        self._enter_training()

    def settle(self) -> None:
        """Wait until the last save is committed, on every rank."""
        self.telemetry.enter(TrainerPhase.SAVING)
        self.saver.settle()

    def evaluate(self) -> None:
        """Take the losses of the fixed grid, unless asked to stop."""
        self._pause(TrainerPhase.SAMPLING)  # the nearest that readers of today know
        if self._hears_stop():
            self._leave_out(_EVALUATION)
        else:
            self.watch.evaluate()
            self.report.wish()
        self._enter_training()

    def go_back(self) -> None:
        """Load the checkpoint before the steps that were not finite, and go on counting."""
        wish = self.watch.roll_back
        self._pause(TrainerPhase.STARTING)
        self.saver.settle()
        if wish is not None:
            self.watch.went_back(go_back(self.configuration, self.world, self.prepared.store, self.state, wish))
        self._enter_training()

    def draw(self) -> None:
        """Draw the prompts from the averaged weights and write the pictures, unless asked to stop meanwhile."""
        if not len(self.prepared.prompts):
            return
        self._pause(TrainerPhase.SAMPLING)
        known = self.prepared
        pictures = draw_pictures(
            self.state.ema.module,
            self.configuration.spec,
            known.prompts,
            known.facts.null_embedding,
            self.world,
            vae=known.vae,
            wants_stop=self._hears_stop,
        )
        written = pictures is not None and (not self.world.leads or self._write(pictures))
        if self.world.on_any(not written):
            self._leave_out(_PICTURES)
        self.report.wish()
        self._enter_training()

    def _write(self, pictures: torch.Tensor) -> bool:
        """Write the pictures, unless this process is asked to stop meanwhile."""
        prompts = self.configuration.spec.sampling.prompts
        asked = self.interruption
        uri = write_pictures(self.prepared.store, self.state.step, pictures, prompts, wants_stop=lambda: asked.is_asked)
        if uri is not None:
            self.telemetry.drew(uri)
        return uri is not None

    def publish_model(self) -> None:
        """Write the finished model for stock Diffusers; an attempt that begins at the last step writes what lacks."""
        self.telemetry.enter(TrainerPhase.SAVING)
        models = self.configuration.run_directory
        model = FinishedModel(
            spec=self.configuration.spec,
            step=self.state.step,
            unet=self.state.ema.module,
            weights=gathered(self.state.ema.module, keep=self.world.leads),
            text_encoder_folder=models / "text_encoder",
            vae_folder=models / "vae",
            vae=self.prepared.vae,
        )
        self.world.run_where(
            self.world.leads, lambda: write_pipeline(self.prepared.store, models / "finished-model", model)
        )

    def _hears_stop(self) -> bool:
        """Whether any rank was asked to stop, between steps; every one asks at the same place."""
        self.wants_stop = self.wants_stop or self.world.on_any(self.interruption.is_asked)
        return self.wants_stop

    def _leave_out(self, what: str) -> None:
        self.wants_stop = self.owes = True
        if self.world.leads:
            self.prepared.metrics.note(self.state.step, "leftOut", what)
        logger.info("step %d: asked to stop before its %s; the next attempt makes up for it", self.state.step, what)

    def _pause(self, phase: TrainerPhase) -> None:
        """Hear every step so far, before something that needs to know them all."""
        self.hear(self.step.stream.drain())
        self.telemetry.enter(phase)

    def _enter_training(self) -> None:
        self.telemetry.enter(TrainerPhase.TRAINING)
        self.step.stream.restart_clock()

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
