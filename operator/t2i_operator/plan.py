"""What a decision asks for: a new status, actions in order, events, and when to look again. `apply` carries it out.

The order is a promise: the status is written first, and actions marked `after_status` only happen once that write went
through, so that a killed operator finds what it had decided before it acts on it.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from t2i_api.status import InitialWeightsStatus, JobStatus
from t2i_checkpoint.inspect import Judgement


@dataclass(frozen=True, kw_only=True)
class StartPreflight:
    """Finish what an earlier process left of an archive, then survey the bucket; the result is observed later."""

    attempt: int


@dataclass(frozen=True, kw_only=True)
class StartArchive:
    """Put these checkpoints, none of which can serve, into the archive; the result is observed later."""

    attempt: int
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, kw_only=True)
class CreateAttempt:
    """Create Service, ConfigMap and Job of an attempt whose number and verdict are in the persisted status."""

    attempt: int
    resume_from: str | None
    initial_weights: InitialWeightsStatus | None = None


@dataclass(frozen=True, kw_only=True)
class DeleteAttempt:
    """Delete the children of an attempt in the foreground, with the pods' grace."""

    attempt: int


@dataclass(frozen=True, kw_only=True)
class DeleteJob:
    """Delete the custom resource itself: its time to live after the end is over."""


Action = StartPreflight | StartArchive | CreateAttempt | DeleteAttempt | DeleteJob


@dataclass(frozen=True, kw_only=True)
class Event:
    """A Kubernetes event about the job."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The outcome of one decision."""

    status: JobStatus | None  # None: not ours to write
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = None
    status_may_wait: bool = field(default=False)  # only progress changed: at most one write in ten seconds
