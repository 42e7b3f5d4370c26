"""What the run says of itself while it runs: the progress document, the Prometheus metrics and a log line now and then.

The training loop calls; the HTTP server of `http_server.py` reads from its own thread, so every document is replaced
whole and never changed in place.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest

from t2i_api.findings import remember
from t2i_api.progress import MAXIMUM_FRESH_NAMES, Progress, TrainerPhase, WarmStart
from t2i_trainer.durations import duration_text
from t2i_trainer.rank_figures import RankCollector, RankFigures
from t2i_trainer.run_metrics import RunMetrics

if TYPE_CHECKING:
    from t2i_api.findings import Finding
    from t2i_checkpoint.manifest import InitialWeightsFacts, Manifest
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.step_result import StepResult

logger = logging.getLogger("t2i_trainer")

LOSS_SMOOTHING = 0.98
_SPEED_SMOOTHING = 0.9
_SECONDS_BETWEEN_LOG_LINES = 10.0


class Telemetry:
    """Progress and metrics of one process; `progress` and `exposition` may be read by any thread.

    `figures` are this process's own; without them those of a run of one process.
    """

    def __init__(self, progress: Progress, global_batch_size: int, figures: RankFigures | None = None) -> None:
        self.progress = progress
        self.figures = figures or RankFigures()
        self._batch = global_batch_size
        self._logged_at = 0.0
        self._run = RunMetrics(progress, global_batch_size)
        self.noticed = self._run.noticed
        self._ranks = CollectorRegistry()
        self._ranks.register(RankCollector(self.figures))

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format: of the run on rank 0, of every process of the pod."""
        run = generate_latest(self._run.registry) if self.figures.rank == 0 else b""
        return run + generate_latest(self._ranks)

    def describe(self, configuration: RunConfiguration) -> None:
        """Say what is trained, and with which versions."""
        self._run.describe(configuration)

    def resumed(self, manifest: Manifest, checkpoint: str, loss_smoothed: float | None) -> None:
        """Note that the run goes on from a checkpoint, which lies in the folder `checkpoint`."""
        self._run.resumed(manifest, loss_smoothed)
        self._update(
            step=manifest.step,
            resumed_from_step=manifest.step,
            last_checkpoint=checkpoint,
            last_checkpoint_step=manifest.step,
            last_checkpoint_at=manifest.created_at,
            samples_seen=manifest.step * self._batch,
            loss_smoothed=loss_smoothed,
        )

    def began_with(self, facts: InitialWeightsFacts, loaded: int) -> None:
        """Note the weights that the run began with at step 0; `loaded` counts tensors."""
        self._update(
            warm_start=WarmStart(
                uri=facts.uri,
                folder=facts.folder,
                step=facts.step,
                verdict=facts.verdict,
                loaded=loaded,
                fresh=len(facts.fresh),
                fresh_names=list(facts.fresh[:MAXIMUM_FRESH_NAMES]),
            )
        )

    def enter(self, phase: TrainerPhase) -> None:
        """Note what comes next."""
        self._run.entered(phase)
        self._update(phase=phase)

    def stepped(self, result: StepResult) -> None:
        """Note an optimizer step; `result.seconds` holds no saves and pictures."""
        before = self.progress
        smoothed = _smooth(before.loss_smoothed, result.loss, LOSS_SMOOTHING) if result.finite else before.loss_smoothed
        pace = before.seconds_per_step
        if result.seconds is not None:
            pace = _smooth(pace, max(result.seconds, 1e-9), _SPEED_SMOOTHING)
        self._update(
            step=result.step,
            loss=result.loss if result.finite else None,
            loss_smoothed=smoothed,
            learning_rate=result.learning_rate,
            gradient_norm=result.gradient_norm if result.finite else None,
            seconds_per_step=pace,
            images_per_second=None if pace is None else self._batch / pace,
            eta_seconds=None if pace is None else pace * (before.target_steps - result.step),
            samples_seen=result.step * self._batch,
        )
        self._run.stepped(result, smoothed, self.progress.eta_seconds)
        self.figures.stepped(result.seconds, result.forward_seconds)
        now = time.monotonic()
        if now - self._logged_at >= _SECONDS_BETWEEN_LOG_LINES or result.step == before.target_steps:
            self._logged_at = now
            self._log()

    def blocked_by_save(self, seconds: float) -> None:
        """Note for how long training stood still for a save; called where it was written."""
        self._run.blocked_by_save(seconds)

    def saved(self, manifest: Manifest, seconds: float, upload_seconds: float) -> None:
        """Note what a committed checkpoint cost, from step to commit; called where it was written."""
        size = sum(file.size for file in manifest.files)
        self._run.saved(manifest, seconds, upload_seconds)
        logger.info("step %d: saved a checkpoint (%.1f MiB in %.1f s)", manifest.step, size / 2**20, seconds)

    def save_failed(self) -> None:
        """Note that a save failed; called where it was to be written."""
        self._run.save_failed()

    def knows_checkpoint(self, name: str, step: int) -> None:
        """Note the last committed checkpoint; called on every rank."""
        self._update(last_checkpoint=name, last_checkpoint_step=step, last_checkpoint_at=datetime.now(UTC))

    def drew(self, grid_uri: str) -> None:
        """Note a sample grid."""
        self._run.drew()
        self._update(last_samples=grid_uri)
        logger.info("step %d: pictures in %s", self.progress.step, grid_uri)

    def found(self, finding: Finding) -> None:
        """Note something that the run noticed about itself."""
        self.noticed.found(finding)
        self._update(findings=remember(self.progress.findings, finding))

    def expects(self, *, as_expected: bool | None, sentence: str | None) -> None:
        """Note whether the loss lies within the job's expectations."""
        self.noticed.expects(as_expected=as_expected)
        self._update(as_expected=as_expected, expectation=sentence)

    def _log(self) -> None:
        now = self.progress
        speed = "" if now.images_per_second is None else f", {now.images_per_second:.1f} images/s"
        eta = "" if now.eta_seconds is None else f", {duration_text(now.eta_seconds)} left"
        loss = f"{now.loss:.4f}" if now.loss is not None and math.isfinite(now.loss) else "not finite"
        logger.info("step %d of %d: loss %s%s%s", now.step, now.target_steps, loss, speed, eta)

    def _update(self, **changes: object) -> None:
        self.progress = self.progress.model_copy(update={**changes, "updated_at": datetime.now(UTC)})


def _smooth(before: float | None, now: float, keep: float) -> float:
    return now if before is None else keep * before + (1 - keep) * now
