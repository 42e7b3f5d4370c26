"""What Prometheus sees of every job, computed from the cached objects at each scrape.

So it survives a restart of the operator (the last loss lies in the status) and vanishes with the object. An object that
did not change since the last scrape is not read again: a thousand jobs change a few times between two scrapes.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from pydantic import ValidationError

from t2i_api.metrics import JOB_METRICS, Metric, job
from t2i_api.status import ArchiveStatus, AttemptStatus, JobStatus, ProgressStatus
from t2i_operator.cache import JobCache, JobKey, RawObject

Value = tuple[Metric, float, tuple[str, ...]]  # the labels after job_namespace and job_name
Version = tuple[str, str]
EARLIER = "Earlier"


class JobSeries(Collector):
    """Every family of `t2i_api.metrics.job`, with the samples of every live job."""

    def __init__(self, cache: JobCache) -> None:
        self._cache = cache
        self._known: dict[JobKey, tuple[Version, tuple[Sample, ...]]] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the families; may be called from another thread than the event loop's."""
        self._known = {JobKey.of(raw): self._samples(raw) for raw in self._cache}
        families = {
            metric.name: GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)
            for metric in JOB_METRICS
        }
        for _, samples in self._known.values():
            for sample in samples:
                families[sample.name].samples.append(sample)
        return families.values()

    def _samples(self, raw: RawObject) -> tuple[Version, tuple[Sample, ...]]:
        metadata, key = raw["metadata"], JobKey.of(raw)
        version = (str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")))
        known = self._known.get(key)
        if known is not None and known[0] == version:
            return known
        return version, tuple(_sample(key, value) for value in values_of(raw))


def values_of(raw: RawObject) -> Iterator[Value]:
    """Say what is known of a job; nothing of its status if that cannot be read, which the reconcile says."""
    yield from _identity(raw)
    try:
        status = JobStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return
    yield job.GPUS, status.gpus, ()
    for condition in status.conditions:
        yield job.CONDITION_NOW, 1, (condition.type, condition.status, condition.reason)
    yield from _attempt(status.attempt)
    for cause, count in restarts_by_cause(status).items():
        yield job.RESTARTS, count, (cause,)
    if status.checkpoint is not None and status.checkpoint.verdict is not None:
        yield job.VERDICT_NOW, 1, (status.checkpoint.verdict,)
    if status.archive is not None:
        yield from _archive(status.archive)
    if status.progress is not None:
        yield from _progress(status.progress)


def restarts_by_cause(status: JobStatus) -> dict[str, int]:
    """Count the restarts that the status still lists by cause, and the others as earlier ones."""
    by_cause: dict[str, int] = {}
    for record in status.restarts.recent:
        by_cause[record.cause] = by_cause.get(record.cause, 0) + 1
    forgotten = status.restarts.total - len(status.restarts.recent)
    return {**by_cause, EARLIER: forgotten} if forgotten > 0 else by_cause


def _identity(raw: RawObject) -> Iterator[Value]:
    spec = raw.get("spec") or {}
    unet = _inner(spec, "model", "unet").get("preset") or "custom"
    yield job.INFO, 1, (str(_inner(spec, "checkpoint").get("uri", "")), str(unet))
    created = raw["metadata"].get("creationTimestamp")
    if created:
        yield job.CREATED, datetime.fromisoformat(created).timestamp(), ()


def _attempt(attempt: AttemptStatus | None) -> Iterator[Value]:
    yield job.ATTEMPT, attempt.number if attempt else 0, ()
    if attempt is not None:
        yield from _at(job.ATTEMPT_STARTED, attempt.started_at)
        yield from _at(job.RUNNING_SINCE, attempt.running_since)


def _archive(archive: ArchiveStatus) -> Iterator[Value]:
    yield job.ARCHIVE_BYTES, archive.bytes, ()
    yield job.ARCHIVED_BYTES, archive.bytes_done, ()
    yield job.ARCHIVE_OBJECTS, archive.objects, ()
    yield from _at(job.ARCHIVE_TIMESTAMP, archive.completed_at)


def _progress(progress: ProgressStatus) -> Iterator[Value]:
    yield job.STEP, progress.step, ()
    if progress.target_steps:
        yield job.TARGET_STEPS, progress.target_steps, ()
        yield job.PROGRESS, min(1.0, progress.step / progress.target_steps), ()
    yield from _at(job.ADVANCED, progress.advanced_at)
    for metric, number in (
        (job.LAST_LOSS, progress.loss),
        (job.LAST_LOSS_SMOOTHED, progress.loss_smoothed),
        (job.LAST_IMAGES_PER_SECOND, progress.images_per_second),
        (job.CHECKPOINT_STEP, progress.last_checkpoint_step),
    ):
        if number is not None:
            yield metric, number, ()
    yield from _at(job.CHECKPOINT_TIMESTAMP, progress.last_checkpoint_at)
    for finding in progress.findings:
        yield job.FINDING, 1, (finding.name, finding.severity)


def _at(metric: Metric, moment: datetime | None) -> Iterator[Value]:
    if moment is not None:
        yield metric, moment.timestamp(), ()


def _inner(document: Any, *path: str) -> dict[str, Any]:
    """Follow a path through an object that only the API server has validated."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _sample(key: JobKey, value: Value) -> Sample:
    metric, number, labels = value
    named = dict(zip(metric.label_names, (key.namespace, key.name, *labels), strict=True))
    return Sample(metric.name, named, float(number))
