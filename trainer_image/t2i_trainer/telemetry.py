"""What the run says of itself while it runs: the progress document, the Prometheus metrics and a log line now and then.

The training loop calls; the HTTP server of `http_server.py` reads from its own thread, so every document is replaced
whole and never changed in place.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from t2i_api import metrics as names
from t2i_api.findings import remember
from t2i_api.progress import MAXIMUM_FRESH_NAMES, Progress, TrainerPhase, WarmStart
from t2i_trainer.noticed import NoticedMetrics
from t2i_trainer.speed_metrics import SpeedMetrics

if TYPE_CHECKING:
    from t2i_api.findings import Finding
    from t2i_api.metrics import Metric
    from t2i_checkpoint.manifest import InitialWeightsFacts, Manifest
    from t2i_trainer.step_result import StepResult

logger = logging.getLogger("t2i_trainer")

LOSS_SMOOTHING = 0.98
_SPEED_SMOOTHING = 0.9
_SECONDS_BETWEEN_LOG_LINES = 10.0
_STEP_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_BLOCKED_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300)
_SAVE_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600)


class Telemetry:
    """Progress and metrics of one process; `progress` and `exposition` may be read by any thread."""

    def __init__(self, progress: Progress, global_batch_size: int) -> None:
        self.progress = progress
        self._batch = global_batch_size
        self._logged_at = 0.0
        self._registry = CollectorRegistry()
        self._loss = self._gauge(names.trainer.LOSS)
        self._loss_smoothed = self._gauge(names.trainer.LOSS_SMOOTHED)
        self._step = self._gauge(names.trainer.STEP)
        self._gradient_norm = self._gauge(names.trainer.GRADIENT_NORM)
        self._learning_rate = self._gauge(names.trainer.LEARNING_RATE)
        self._checkpoint_at = self._gauge(names.trainer.CHECKPOINT_TIMESTAMP)
        self._checkpoint_step = self._gauge(names.trainer.CHECKPOINT_STEP)
        self._images = self._counter(names.trainer.IMAGES)
        self._non_finite = self._counter(names.trainer.NON_FINITE)
        self._checkpoint_bytes = self._counter(names.trainer.CHECKPOINT_BYTES)
        self._step_seconds = self._histogram(names.trainer.STEP_SECONDS, _STEP_BUCKETS)
        self._checkpoint_seconds = self._histogram(names.trainer.CHECKPOINT_SECONDS, _SAVE_BUCKETS)
        self._checkpoint_blocked = self._histogram(names.trainer.CHECKPOINT_BLOCKED, _BLOCKED_BUCKETS)
        self._checkpoint_upload = self._histogram(names.trainer.CHECKPOINT_UPLOAD, _SAVE_BUCKETS)
        self.noticed = NoticedMetrics(self._registry)
        self.speed = SpeedMetrics(self._registry)
        self._gauge(names.trainer.TARGET_STEPS).set(progress.target_steps)
        self._step.set(progress.step)

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def resumed(self, manifest_step: int, checkpoint: str, loss_smoothed: float | None) -> None:
        """Note that the run goes on from a checkpoint."""
        self._step.set(manifest_step)
        self._update(
            step=manifest_step,
            resumed_from_step=manifest_step,
            last_checkpoint=checkpoint,
            last_checkpoint_step=manifest_step,
            samples_seen=manifest_step * self._batch,
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
        self._export(result, smoothed)
        now = time.monotonic()
        if now - self._logged_at >= _SECONDS_BETWEEN_LOG_LINES or result.step == before.target_steps:
            self._logged_at = now
            self._log()

    def blocked_by_save(self, seconds: float) -> None:
        """Note for how long training stood still for a save; called where it was written."""
        self._checkpoint_blocked.observe(seconds)

    def saved(self, manifest: Manifest, seconds: float, upload_seconds: float) -> None:
        """Note what a committed checkpoint cost, from step to commit; called where it was written."""
        size = sum(file.size for file in manifest.files)
        self._checkpoint_at.set(manifest.created_at.timestamp())
        self._checkpoint_step.set(manifest.step)
        self._checkpoint_bytes.inc(size)
        self._checkpoint_seconds.observe(seconds)
        self._checkpoint_upload.observe(upload_seconds)
        logger.info("step %d: saved a checkpoint (%.1f MiB in %.1f s)", manifest.step, size / 2**20, seconds)

    def knows_checkpoint(self, name: str, step: int) -> None:
        """Note the last committed checkpoint; called on every rank."""
        self._update(last_checkpoint=name, last_checkpoint_step=step, last_checkpoint_at=datetime.now(UTC))

    def drew(self, grid_uri: str) -> None:
        """Note a sample grid."""
        self._update(last_samples=grid_uri)
        logger.info("step %d: pictures in %s", self.progress.step, grid_uri)

    def met_non_finite(self) -> None:
        """Count a loss that is not a number."""
        self._non_finite.inc()

    def found(self, finding: Finding) -> None:
        """Note something that the run noticed about itself."""
        self.noticed.found(finding)
        self._update(findings=remember(self.progress.findings, finding))

    def expects(self, *, as_expected: bool | None, sentence: str | None) -> None:
        """Note whether the loss lies within the job's expectations."""
        self.noticed.expects(as_expected=as_expected)
        self._update(as_expected=as_expected, expectation=sentence)

    def _export(self, result: StepResult, smoothed: float | None) -> None:
        self._loss.set(result.loss)
        if smoothed is not None:
            self._loss_smoothed.set(smoothed)
        self._step.set(result.step)
        self._gradient_norm.set(result.gradient_norm)
        self._learning_rate.set(result.learning_rate)
        self._images.inc(self._batch)
        if result.seconds is not None:
            self._step_seconds.observe(result.seconds)

    def _log(self) -> None:
        now = self.progress
        speed = "" if now.images_per_second is None else f", {now.images_per_second:.1f} images/s"
        eta = "" if now.eta_seconds is None else f", {_duration(now.eta_seconds)} left"
        logger.info("step %d of %d: loss %.4f%s%s", now.step, now.target_steps, now.loss or 0.0, speed, eta)

    def _update(self, **changes: object) -> None:
        self.progress = self.progress.model_copy(update={**changes, "updated_at": datetime.now(UTC)})

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, registry=self._registry)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, registry=self._registry)

    def _histogram(self, metric: Metric, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(metric.name, metric.help, registry=self._registry, buckets=buckets)


def _smooth(before: float | None, now: float, keep: float) -> float:
    return now if before is None else keep * before + (1 - keep) * now


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
