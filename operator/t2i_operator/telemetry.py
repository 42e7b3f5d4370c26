"""What Prometheus sees of the operator: counters of its own work, and gauges computed from live jobs at every scrape.

A job's series come from the cached custom resources, so they survive a restart of the operator (the last loss lies in
the status) and vanish with the object.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector
from pydantic import ValidationError

from t2i_api import metrics
from t2i_api.status import JobStatus, VerdictKind
from t2i_operator.cache import JobCache, JobKey, RawObject

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True)
class Telemetry:
    """The registry and what the operator counts itself."""

    registry: CollectorRegistry
    reconciles: Counter
    reconcile_seconds: Histogram
    status_refusals: Counter

    @classmethod
    def create(cls, cache: JobCache, *, queue_depth: Callable[[], int], leading: Callable[[], bool]) -> "Telemetry":
        """Return telemetry over these live parts."""
        registry = CollectorRegistry()
        registry.register(_LiveState(cache, queue_depth, leading))
        count, seconds = metrics.operator.RECONCILES, metrics.operator.RECONCILE_SECONDS
        refusals = metrics.operator.STATUS_REFUSALS
        return cls(
            registry,
            Counter(count.name, count.help, count.label_names, registry=registry),
            Histogram(seconds.name, seconds.help, seconds.label_names, registry=registry, buckets=_BUCKETS),
            Counter(refusals.name, refusals.help, registry=registry),
        )


class _LiveState(Collector):
    def __init__(self, cache: JobCache, queue_depth: Callable[[], int], leading: Callable[[], bool]) -> None:
        self._cache = cache
        self._queue_depth = queue_depth
        self._leading = leading

    def collect(self) -> Iterable[MetricFamily]:
        """Return every family, with a sample for each live job."""
        depth, leader = metrics.operator.QUEUE_DEPTH, metrics.operator.LEADER
        yield GaugeMetricFamily(depth.name, depth.help, value=self._queue_depth())
        yield GaugeMetricFamily(leader.name, leader.help, value=float(self._leading()))
        families = {
            metric.name: GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)
            for metric in metrics.JOB_METRICS
            if metric.name.startswith("t2i_job_")
        }
        for raw in self._cache:
            for metric, labels, value in _samples(raw):
                families[metric.name].add_metric(labels, value)
        yield from families.values()


Sample = tuple[metrics.Metric, list[str], float]


def _samples(raw: RawObject) -> Iterable[Sample]:
    key = JobKey.of(raw)
    job = [key.namespace, key.name]
    try:
        status = JobStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return  # the reconcile says so
    for condition in status.conditions:
        yield metrics.job.CONDITION_NOW, [*job, condition.type, condition.status, condition.reason], 1.0
    yield metrics.job.ATTEMPT, job, float(status.attempt.number if status.attempt else 0)
    yield from _restarts(status, job)
    if status.checkpoint is not None and status.checkpoint.verdict is not None:
        for kind in VerdictKind:
            yield metrics.job.VERDICT_NOW, [*job, kind.value], float(kind is status.checkpoint.verdict)
    if status.archive is not None:
        yield metrics.job.ARCHIVED_BYTES, job, float(status.archive.bytes_done)
    yield from _progress(status, job)


def _restarts(status: JobStatus, job: list[str]) -> Iterable[Sample]:
    by_cause: dict[str, int] = {}
    for record in status.restarts.recent:
        by_cause[record.cause] = by_cause.get(record.cause, 0) + 1
    forgotten = status.restarts.total - len(status.restarts.recent)
    if forgotten > 0:
        by_cause["Earlier"] = forgotten
    for cause, count in by_cause.items():
        yield metrics.job.RESTARTS, [*job, cause], float(count)


def _progress(status: JobStatus, job: list[str]) -> Iterable[Sample]:
    progress = status.progress
    if progress is None:
        return
    yield metrics.job.STEP, job, float(progress.step)
    if progress.target_steps:
        yield metrics.job.PROGRESS, job, min(1.0, progress.step / progress.target_steps)
    if progress.loss is not None:
        yield metrics.job.LAST_LOSS, job, progress.loss
    for finding in progress.findings:
        yield metrics.job.FINDING, [*job, finding.name, finding.severity], 1.0
    if progress.last_checkpoint_at is not None:
        yield metrics.job.CHECKPOINT_TIMESTAMP, job, progress.last_checkpoint_at.timestamp()


def outcome_of(error: Exception) -> str:
    """Return the `outcome` label of a reconcile that failed: `conflict`, `unreachable` or `error`."""
    return type(error).__name__.removesuffix("Error").lower() or "error"
