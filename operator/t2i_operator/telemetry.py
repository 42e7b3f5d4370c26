"""What Prometheus sees of the operator's own work: counted as it happens, or looked up at every scrape.

Who does the work only calls a method here; names, labels and buckets come from `t2i_api.metrics`. What is said of jobs
lies in `job_series.py`.
"""

import platform
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from t2i_api.metrics import Metric, operator
from t2i_api.metrics.labels import Outcome, Result
from t2i_checkpoint.store import StoreRequest
from t2i_operator.cache import JobCache, JobKey
from t2i_operator.cluster import ApiRequest
from t2i_operator.job_series import JobSeries
from t2i_operator.workqueue import WorkQueue


class Telemetry:
    """The registry, and what is counted; every method may be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reconciles = self._counter(operator.RECONCILES)
        self._reconcile_seconds = self._histogram(operator.RECONCILE_SECONDS)
        self._status_refusals = self._counter(operator.STATUS_REFUSALS)
        self._queue_wait = self._histogram(operator.QUEUE_WAIT)
        self._api_requests = self._counter(operator.API_REQUESTS)
        self._api_seconds = self._histogram(operator.API_REQUEST_SECONDS)
        self._store_requests = self._counter(operator.STORE_REQUESTS)
        self._store_seconds = self._histogram(operator.STORE_REQUEST_SECONDS)
        self._polls = self._counter(operator.PROGRESS_POLLS)
        self._preflights = self._counter(operator.PREFLIGHTS)
        self._preflight_seconds = self._histogram(operator.PREFLIGHT_SECONDS)
        self._archives = self._counter(operator.ARCHIVES)
        self._archived_bytes = self._counter(operator.ARCHIVED_BYTES)
        self._archived_objects = self._counter(operator.ARCHIVED_OBJECTS)
        # A series that appears with its first event shows no increase, so those with few values exist from the start.
        for outcome in Outcome:
            self._reconciles.labels(outcome)
        for counter in (self._polls, self._preflights, self._archives):
            for result in Result:
                counter.labels(result)
        ProcessCollector(registry=self.registry)

    def show(self, cache: JobCache, queue: WorkQueue[JobKey], *, leading: Callable[[], bool]) -> None:
        """Export the state of these parts, looked up at every scrape."""
        self.registry.register(_LiveState(queue, leading))
        self.registry.register(JobSeries(cache))

    def reconciled(self, outcome: Outcome, seconds: float) -> None:
        """Count a reconcile."""
        self._reconciles.labels(outcome).inc()
        self._reconcile_seconds.observe(seconds)

    def status_refused(self) -> None:
        """Count a status that the API server did not take whole."""
        self._status_refusals.inc()

    def waited(self, seconds: float) -> None:
        """Note for how long a job waited for its reconcile."""
        self._queue_wait.observe(seconds)

    def asked_api(self, request: ApiRequest) -> None:
        """Count a request to the Kubernetes API."""
        self._api_requests.labels(request.verb, request.resource, request.code).inc()
        self._api_seconds.labels(request.verb).observe(request.seconds)

    def asked_store(self, request: StoreRequest) -> None:
        """Count a request to an object store."""
        self._store_requests.labels(request.operation, request.code).inc()
        self._store_seconds.labels(request.operation).observe(request.seconds)

    def polled(self, answered: bool) -> None:  # noqa: FBT001  # a callback
        """Count a look at a trainer's progress."""
        self._polls.labels(_result(answered)).inc()

    def looked(self, seconds: float, *, succeeded: bool) -> None:
        """Count a preflight."""
        self._preflights.labels(_result(succeeded)).inc()
        self._preflight_seconds.observe(seconds)

    def archived(self, size: int, objects: int, *, succeeded: bool) -> None:
        """Count an archive, and what lies in it if it was completed."""
        self._archives.labels(_result(succeeded)).inc()
        if succeeded:
            self._archived_bytes.inc(size)
            self._archived_objects.inc(objects)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.label_names, registry=self.registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.help, metric.label_names, registry=self.registry, buckets=metric.buckets)


class _LiveState(Collector):
    """Queue and lease as they are now."""

    def __init__(self, queue: WorkQueue[JobKey], leading: Callable[[], bool]) -> None:
        self._queue = queue
        self._leading = leading

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return every family, those without a value empty."""
        state, now = self._queue.state(), time.time()
        yield _gauge(operator.BUILD_INFO, 1, version("t2i-operator"), platform.python_version())
        yield _gauge(operator.LEADER, float(self._leading()))
        yield _gauge(operator.QUEUE_DEPTH, state.depth)
        yield _gauge(operator.FAILING, state.failing)
        for metric, age in (
            (operator.QUEUE_OLDEST, state.oldest_wait_seconds),
            (operator.WORKING_OLDEST, state.longest_work_seconds),
        ):
            yield _gauge(metric, None if age is None else now - age)


def _gauge(metric: Metric, value: float | None, *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)
    if value is not None:
        family.add_metric(labels, value)
    return family


def _result(succeeded: bool) -> Result:  # noqa: FBT001  # private, one meaning
    return Result.SUCCESS if succeeded else Result.FAILURE
