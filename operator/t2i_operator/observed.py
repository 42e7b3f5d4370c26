"""Everything a decision may know of one job, gathered by `observe` and frozen: `decide` reads this and nothing else.

Facts are bucketed once, here: a policy never parses a Kubernetes object.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import Progress, TerminationMessage
from t2i_checkpoint.inspect import Survey


class PodPhase(StrEnum):
    """core/v1 PodPhase."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, kw_only=True)
class PodFacts:
    """One pod of an attempt."""

    name: str
    attempt: int
    index: int
    phase: PodPhase
    ip: str | None = None
    deleting: bool = False
    disrupted: bool = False  # condition DisruptionTarget: preemption, eviction, node shutdown
    exit_code: int | None = None
    out_of_memory: bool = False  # the kernel's, reason OOMKilled
    waiting_reason: str = ""  # why the container does not start, e.g. ImagePullBackOff
    unschedulable_message: str = ""
    termination: TerminationMessage | None = None

    @property
    def over(self) -> bool:
        """Whether no process of it runs any more."""
        return self.phase in {PodPhase.SUCCEEDED, PodPhase.FAILED}


@dataclass(frozen=True, kw_only=True)
class AttemptFacts:
    """One attempt's children, as the cluster holds them."""

    number: int
    job_exists: bool
    job_deleting: bool = False
    job_suspended: bool = False  # by a queue such as Kueue
    succeeded: bool = False  # condition Complete
    failed: bool = False  # condition Failed
    failure_reason: str = ""  # reason of that condition, e.g. PodFailurePolicy
    failure_message: str = ""
    pods: tuple[PodFacts, ...] = ()
    parallelism: int | None = None  # of the Job; None: not known, then the spec's workers.count holds

    @property
    def all_running(self) -> bool:
        """Whether every pod that the attempt has runs."""
        return bool(self.pods) and all(pod.phase is PodPhase.RUNNING for pod in self.pods)


class StorageErrorKind(StrEnum):
    """Why the bucket could not be read or written."""

    UNAVAILABLE = "Unavailable"
    ACCESS_DENIED = "AccessDenied"
    CREDENTIALS_MISSING = "CredentialsMissing"
    NOT_ALLOWED = "NotAllowed"  # by the operator's storage_policy
    INVALID_LOCATION = "InvalidLocation"
    UNSUPPORTED_MODEL = "UnsupportedModel"
    SOURCE_CHANGED = "SourceChanged"
    ARCHIVE_FAILED = "ArchiveFailed"


@dataclass(frozen=True, kw_only=True)
class StorageError:
    """What went wrong, in words that a user can act on."""

    kind: StorageErrorKind
    message: str


@dataclass(frozen=True, kw_only=True)
class ArchiveFacts:
    """The archive that one attempt's preflight led to."""

    attempt: int
    running: bool = False
    location: str = ""  # archive/<time>-<label>
    checkpoints: int = 0
    objects: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    method: str = ""  # Move or Reference; empty until it is known
    bytes_per_second: float | None = None
    eta_seconds: float | None = None
    warning: str = ""  # what the store does not honour, and what was done instead
    done: bool = False
    error: StorageError | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PreflightFacts:
    """The preflight of one attempt: running, or done with a survey or an error."""

    attempt: int
    running: bool = False
    survey: Survey | None = None
    initial_weights: Survey | None = None  # of model.initialWeights.uri, when nothing in the prefix can be resumed
    error: StorageError | None = None
    finished_at: datetime | None = None
    last_archive: ArchiveFacts | None = None  # the newest completed one below the job's URI, whoever made it


@dataclass(frozen=True, kw_only=True)
class FailedAction:
    """An action that the API server refused; `action` is the name of its class in `plan`."""

    action: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One job and all that is known of it at `now`."""

    job: DiffusionTrainingJob
    now: datetime
    created_at: datetime
    attempts: tuple[AttemptFacts, ...] = ()  # by number, oldest first; also those that only pods are left of
    preflight: PreflightFacts | None = None
    archive: ArchiveFacts | None = None
    progress: Progress | None = None  # the newest that rank 0 of the newest attempt reported, if any
    invalid_spec: str = ""  # why the spec cannot be read although the API server took it
    unknown_spec: str = ""  # what only a newer operator knows in it
    last_status_write: datetime | None = field(default=None)
    failed_action: FailedAction | None = None  # what the API server refused last time
    watched_since: datetime | None = None  # since when this process polls the job: a stall is never older than that

    def attempt(self, number: int) -> AttemptFacts | None:
        """The children of that attempt, if any are left."""
        return next((attempt for attempt in self.attempts if attempt.number == number), None)
