"""What the operator exports of its own work, at its metrics port."""

from typing import Final

from t2i_api.metrics.definition import Label, Unit, counter, gauge, histogram
from t2i_api.metrics.labels import CODE, OPERATION, OUTCOME, RESOURCE, RESULT, VERB

_RECONCILE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAIT_BUCKETS: Final = (0.001, 0.01, 0.1, 0.5, 1, 5, 15, 60, 300)
_REQUEST_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_PREFLIGHT_BUCKETS: Final = (0.1, 0.3, 1, 3, 10, 30, 60, 300)
_ONE_A_PROCESS: Final = "one value a process"

BUILD_INFO: Final = gauge(
    "t2i_operator_build_info",
    Unit.YES_NO,
    "1; the versions of operator and Python.",
    *(Label(name=name, bound=_ONE_A_PROCESS) for name in ("version", "python")),
)
LEADER: Final = gauge("t2i_operator_leader", Unit.YES_NO, "1 while this process holds the lease, else 0.")
RECONCILES: Final = counter("t2i_operator_reconciles_total", Unit.COUNT, "Reconciles by outcome.", OUTCOME)
RECONCILE_SECONDS: Final = histogram(
    "t2i_operator_reconcile_seconds", Unit.SECONDS, "Duration of a reconcile.", _RECONCILE_BUCKETS
)
STATUS_REFUSALS: Final = counter(
    "t2i_operator_status_refusals_total",
    Unit.COUNT,
    "Statuses that the API server did not take whole: the installed CRD is probably older than the operator.",
)
QUEUE_DEPTH: Final = gauge("t2i_operator_queue_depth", Unit.COUNT, "Jobs that wait for a reconcile.")
QUEUE_OLDEST: Final = gauge(
    "t2i_operator_queue_oldest_timestamp_seconds",
    Unit.TIMESTAMP,
    "Since when the job waits that waits longest for a reconcile; no sample while none waits.",
)
QUEUE_WAIT: Final = histogram(
    "t2i_operator_queue_wait_seconds", Unit.SECONDS, "Time for which a job waited for a reconcile.", _WAIT_BUCKETS
)
WORKING_OLDEST: Final = gauge(
    "t2i_operator_working_oldest_timestamp_seconds",
    Unit.TIMESTAMP,
    "Since when the longest reconcile that goes on now goes on; no sample while none does.",
)
FAILING: Final = gauge(
    "t2i_operator_failing_jobs", Unit.COUNT, "Jobs whose last reconcile failed and that wait to be tried again."
)
API_REQUESTS: Final = counter(
    "t2i_operator_api_requests_total",
    Unit.COUNT,
    "Requests to the Kubernetes API, those of the event watch not counted.",
    VERB,
    RESOURCE,
    CODE,
)
API_REQUEST_SECONDS: Final = histogram(
    "t2i_operator_api_request_seconds", Unit.SECONDS, "Duration of a request to the API.", _REQUEST_BUCKETS, VERB
)
STORE_REQUESTS: Final = counter(
    "t2i_operator_store_requests_total", Unit.COUNT, "Requests to object stores, retries included.", OPERATION, CODE
)
STORE_REQUEST_SECONDS: Final = histogram(
    "t2i_operator_store_request_seconds",
    Unit.SECONDS,
    "Duration of a request to an object store, until its answer began.",
    _REQUEST_BUCKETS,
    OPERATION,
)
PROGRESS_POLLS: Final = counter(
    "t2i_operator_progress_polls_total", Unit.COUNT, "Times that rank 0 of a job was asked for its progress.", RESULT
)
PREFLIGHTS: Final = counter(
    "t2i_operator_preflights_total", Unit.COUNT, "Looks at a job's checkpoints that came to an end.", RESULT
)
PREFLIGHT_SECONDS: Final = histogram(
    "t2i_operator_preflight_seconds", Unit.SECONDS, "Duration of such a look.", _PREFLIGHT_BUCKETS
)
ARCHIVES: Final = counter("t2i_operator_archives_total", Unit.COUNT, "Archives that came to an end.", RESULT)
ARCHIVED_BYTES: Final = counter(
    "t2i_operator_archived_bytes_total", Unit.BYTES, "Bytes of completed archives that this process made."
)
ARCHIVED_OBJECTS: Final = counter(
    "t2i_operator_archived_objects_total", Unit.COUNT, "Objects of completed archives that this process made."
)
CPU_SECONDS: Final = counter(
    "process_cpu_seconds_total", Unit.SECONDS, "Total user and system CPU time spent in seconds."
)
RESIDENT_MEMORY: Final = gauge("process_resident_memory_bytes", Unit.BYTES, "Resident memory size in bytes.")
VIRTUAL_MEMORY: Final = gauge("process_virtual_memory_bytes", Unit.BYTES, "Virtual memory size in bytes.")
PROCESS_START: Final = gauge(
    "process_start_time_seconds", Unit.TIMESTAMP, "Start time of the process since unix epoch in seconds."
)
OPEN_FILES: Final = gauge("process_open_fds", Unit.COUNT, "Number of open file descriptors.")
MAXIMUM_FILES: Final = gauge("process_max_fds", Unit.COUNT, "Maximum number of open file descriptors.")

OWN_METRICS: Final = (
    BUILD_INFO,
    LEADER,
    RECONCILES,
    RECONCILE_SECONDS,
    STATUS_REFUSALS,
    QUEUE_DEPTH,
    QUEUE_OLDEST,
    QUEUE_WAIT,
    WORKING_OLDEST,
    FAILING,
    API_REQUESTS,
    API_REQUEST_SECONDS,
    STORE_REQUESTS,
    STORE_REQUEST_SECONDS,
    PROGRESS_POLLS,
    PREFLIGHTS,
    PREFLIGHT_SECONDS,
    ARCHIVES,
    ARCHIVED_BYTES,
    ARCHIVED_OBJECTS,
)
# The names and meanings of these are Prometheus' own, for every process.
# https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
PROCESS_METRICS: Final = (CPU_SECONDS, RESIDENT_MEMORY, VIRTUAL_MEMORY, PROCESS_START, OPEN_FILES, MAXIMUM_FILES)
