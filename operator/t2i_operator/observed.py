"""Everything that a decision may know, frozen: what `observe.py` gathered and `decide/` turns into a Plan.

Facts are bucketed once, here, so that no policy looks at raw Kubernetes objects. All times carry a time zone; `now` is
passed in, never asked for. What comes from memory (preflight, archive, progress) may be absent after a restart of the
operator at any time: decisions must come out right, only later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from t2i_api.job import JobSpec
    from t2i_api.progress import Progress, TerminationMessage
    from t2i_api.status import JobStatus
    from t2i_checkpoint.inspect import Survey


@dataclass(frozen=True)
class JobIdentity:
    """The custom resource itself."""

    name: str
    namespace: str
    uid: str
    generation: int
    created_at: datetime
    deleting: bool = False


@dataclass(frozen=True)
class JobFacts:
    """The `batch/v1` Job of an attempt.

    `suspended` is its `spec.suspend` (Kueue holds it in a queue). The four booleans are its conditions with status
    True; `failure_target` precedes `failed`, which Kubernetes sets once all pods are gone or terminal.
    `failure_reason` and `failure_message` are of the failed (or failure-target) condition: `PodFailurePolicy`,
    `BackoffLimitExceeded`, `DeadlineExceeded`. `spec_digest` is the annotation that `build` stamped.
    """

    name: str
    uid: str
    active: int = 0
    succeeded_pods: int = 0
    failed_pods: int = 0
    suspended: bool = False
    complete: bool = False
    failed: bool = False
    failure_target: bool = False
    failure_target_at: datetime | None = None
    failure_reason: str = ""
    failure_message: str = ""
    deleting: bool = False
    spec_digest: str | None = None

    @property
    def over(self) -> bool:
        """Whether Kubernetes will start no more pods for it."""
        return self.complete or self.failed


class PodPhase(StrEnum):
    """`status.phase` of a pod."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class PodFacts:
    """One pod of an attempt; `index` is its completion index (None if the label is missing).

    `exit_code`, `oom_killed` and `termination` are of the trainer container once it ended (`termination` None: no
    message, or not ours). `disruption` is the reason of a DisruptionTarget condition with status True
    (`PreemptionByScheduler`, `EvictionByEvictionAPI`, …). `waiting` is `Reason: message` of a container that waits
    for something other than `ContainerCreating`/`PodInitializing`; `unschedulable` the message of PodScheduled=False.
    """

    name: str
    index: int | None = None
    phase: PodPhase = PodPhase.PENDING
    node: str | None = None
    ip: str | None = None
    deleting: bool = False
    exit_code: int | None = None
    oom_killed: bool = False
    disruption: str | None = None
    termination: TerminationMessage | None = None
    waiting: str | None = None
    unschedulable: str | None = None
    status_reason: str = ""  # `status.reason` of the pod itself: Evicted, NodeLost


@dataclass(frozen=True)
class AttemptFacts:
    """All children that carry one attempt's label; an attempt is listed as long as any of them exists."""

    number: int
    job: JobFacts | None = None
    pods: tuple[PodFacts, ...] = ()
    service: bool = False
    config_map: bool = False

    def pod(self, index: int) -> PodFacts | None:
        """Return the pod with that completion index that is not being deleted, if there is one."""
        return next((pod for pod in self.pods if pod.index == index and not pod.deleting), None)


@dataclass(frozen=True)
class FinishedArchive:
    """An archive that was committed and whose sources are deleted; `location` is relative to checkpoint.uri."""

    location: str
    checkpoints: int
    objects: int
    size_bytes: int
    completed_at: datetime


class PreflightErrorKind(StrEnum):
    """Why a preflight has no answer."""

    CREDENTIALS_MISSING = "CredentialsMissing"  # Secret absent, keys absent, or the operator may not read it
    ACCESS_DENIED = "AccessDenied"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    INVALID_LOCATION = "InvalidLocation"
    UNSUPPORTED_MODEL = "UnsupportedModel"  # UnsupportedConfigError: no architecture can be derived from spec.model
    ARCHIVE_FAILED = "ArchiveFailed"  # an archive that an earlier process began cannot be finished
    INTERNAL = "Internal"  # a defect of ours, caught at the last boundary


@dataclass(frozen=True)
class PreflightRunning:
    """A preflight for `attempt` is under way in this process."""

    attempt: int
    generation: int
    started_at: datetime


@dataclass(frozen=True)
class PreflightDone:
    """What lies in the bucket; `archived` are the archives of earlier processes that it finished first."""

    attempt: int
    generation: int
    started_at: datetime
    finished_at: datetime
    survey: Survey
    archived: tuple[FinishedArchive, ...] = ()


@dataclass(frozen=True)
class PreflightFailed:
    """No answer. `message` is a sentence with the way out, `consecutive` counts failures in a row from 1."""

    attempt: int
    generation: int
    started_at: datetime
    finished_at: datetime
    kind: PreflightErrorKind
    message: str
    retryable: bool = True
    consecutive: int = 1


PreflightFacts = PreflightRunning | PreflightDone | PreflightFailed | None
"""The newest preflight of this job in this process's memory; None: none since the operator started."""


@dataclass(frozen=True)
class ArchiveRunning:
    """An archive is being made; figures grow."""

    location: str
    checkpoints: int
    objects: int
    size_bytes: int
    bytes_done: int
    started_at: datetime


@dataclass(frozen=True)
class ArchiveDone:
    """The archive was made; the next preflight surveys what is left."""

    archive: FinishedArchive
    finished_at: datetime


@dataclass(frozen=True)
class ArchiveFailed:
    """The archive stopped with nothing lost; `reason` as in ArchiveError (SourceChanged, …) or a StoreError's class."""

    reason: str
    message: str
    failed_at: datetime
    consecutive: int = 1


ArchiveFacts = ArchiveRunning | ArchiveDone | ArchiveFailed | None
"""The newest archive of this job in this process's memory."""


@dataclass(frozen=True)
class ProgressFacts:
    """What polling rank 0 gave: the newest document of the current attempt, or since when every poll failed."""

    document: Progress | None = None
    fetched_at: datetime | None = None
    failing_since: datetime | None = None


@dataclass(frozen=True)
class Observed:
    """One look at one job. `status` is the persisted one (empty JobStatus if there is none yet)."""

    job: JobIdentity
    spec: JobSpec
    status: JobStatus
    now: datetime
    attempts: tuple[AttemptFacts, ...] = ()
    preflight: PreflightFacts = None
    archive: ArchiveFacts = None
    progress: ProgressFacts = field(default_factory=ProgressFacts)

    def attempt(self, number: int) -> AttemptFacts:
        """Return the children of an attempt; empty if there are none."""
        return next((facts for facts in self.attempts if facts.number == number), AttemptFacts(number))
