"""The metrics of the whole run, as rank 0 exports them: how far it is, what it learns, what its checkpoints cost.

What a run notices about itself has its metrics in `noticed.py`, what every process measures in `rank_figures.py`.
"""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from t2i_api.metrics import trainer as names
from t2i_api.progress import TrainerPhase
from t2i_trainer.known_gauges import KnownGauges
from t2i_trainer.noticed import NoticedMetrics

if TYPE_CHECKING:
    from t2i_api.metrics import Metric
    from t2i_api.progress import Progress
    from t2i_checkpoint.manifest import Manifest
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.step_result import StepResult

_GAUGES: Final = (
    names.BUILD_INFO,
    names.RUN_INFO,
    names.PHASE_NOW,
    names.STEP,
    names.TARGET_STEPS,
    names.STEP_TIMESTAMP,
    names.EXPECTED_END,
    names.GLOBAL_BATCH,
    names.LOSS,
    names.LOSS_SMOOTHED,
    names.GRADIENT_NORM,
    names.LEARNING_RATE,
    names.CHECKPOINT_TIMESTAMP,
    names.CHECKPOINT_STEP,
    names.CHECKPOINT_INTERVAL,
)


class RunMetrics:
    """One registry, written by the training loop."""

    def __init__(self, progress: Progress, global_batch_size: int) -> None:
        self.registry = CollectorRegistry()
        self._batch = global_batch_size
        self._gauges = KnownGauges(_GAUGES, self.registry)
        self.noticed = NoticedMetrics(self.registry)
        self._images = self._counter(names.IMAGES)
        self._sample_grids = self._counter(names.SAMPLE_GRIDS)
        self._checkpoint_bytes = self._counter(names.CHECKPOINT_BYTES)
        self._checkpoint_failures = self._counter(names.CHECKPOINT_FAILURES)
        self._checkpoint_seconds = self._histogram(names.CHECKPOINT_SECONDS)
        self._checkpoint_blocked = self._histogram(names.CHECKPOINT_BLOCKED)
        self._checkpoint_upload = self._histogram(names.CHECKPOINT_UPLOAD)
        self._gauges.set(names.STEP, progress.step)
        self._gauges.set(names.TARGET_STEPS, progress.target_steps)
        self._gauges.set(names.GLOBAL_BATCH, global_batch_size)
        self._gauges.set(names.CHECKPOINT_STEP, 0)
        self.entered(progress.phase)

    def describe(self, configuration: RunConfiguration) -> None:
        """Say what is trained, and with which versions."""
        spec, attempt = configuration.spec, configuration.attempt
        versions = (version("t2i-operator"), platform.python_version(), version("torch"), version("diffusers"))
        self._gauges.set(names.BUILD_INFO, 1, *versions)
        self._gauges.set(
            names.RUN_INFO,
            1,
            spec.model.unet.preset or "custom",
            spec.diffusion.schedule,
            spec.diffusion.prediction_type,
            spec.training.precision,
            configuration.device,
            str(attempt.world_size),
        )
        self._gauges.set(names.CHECKPOINT_INTERVAL, spec.checkpoint.every_steps)

    def entered(self, phase: TrainerPhase) -> None:
        """Note what comes next."""
        for each in TrainerPhase:
            self._gauges.set(names.PHASE_NOW, float(each is phase), each)

    def resumed(self, manifest: Manifest, loss_smoothed: float | None) -> None:
        """Note the checkpoint that the run goes on from."""
        self._gauges.set(names.STEP, manifest.step)
        self._gauges.set(names.LOSS_SMOOTHED, loss_smoothed)
        self._knows(manifest)

    def stepped(self, result: StepResult, smoothed: float | None, eta_seconds: float | None) -> None:
        """Note a step, also one that is not finite: NaN and Inf are what Prometheus shows then."""
        now = time.time()
        self._gauges.set(names.STEP, result.step)
        self._gauges.set(names.STEP_TIMESTAMP, now)
        self._gauges.set(names.EXPECTED_END, None if eta_seconds is None else now + eta_seconds)
        self._gauges.set(names.LOSS, result.loss)
        self._gauges.set(names.LOSS_SMOOTHED, smoothed)
        self._gauges.set(names.GRADIENT_NORM, result.gradient_norm)
        self._gauges.set(names.LEARNING_RATE, result.learning_rate)
        self._images.inc(self._batch)

    def blocked_by_save(self, seconds: float) -> None:
        """Note for how long training stood still for a save."""
        self._checkpoint_blocked.observe(seconds)

    def saved(self, manifest: Manifest, seconds: float, upload_seconds: float) -> None:
        """Note what a committed checkpoint cost, from step to commit."""
        self._knows(manifest)
        self._checkpoint_bytes.inc(sum(file.size for file in manifest.files))
        self._checkpoint_seconds.observe(seconds)
        self._checkpoint_upload.observe(upload_seconds)

    def save_failed(self) -> None:
        """Count a save that failed."""
        self._checkpoint_failures.inc()

    def drew(self) -> None:
        """Count a sample grid."""
        self._sample_grids.inc()

    def _knows(self, manifest: Manifest) -> None:
        self._gauges.set(names.CHECKPOINT_STEP, manifest.step)
        self._gauges.set(names.CHECKPOINT_TIMESTAMP, manifest.created_at.timestamp())

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, registry=self.registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.help, registry=self.registry, buckets=metric.buckets)
