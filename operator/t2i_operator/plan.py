"""What is to be done about one job: the result of `decide`, carried out by `reconcile.py`.

Order of execution: the actions as listed; then, if `write_status`, one status write with the observed resourceVersion;
then, only if that write succeeded, the events. A failed action ends the reconcile before the status write; deciding
again comes to the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from t2i_api.status import JobStatus
    from t2i_checkpoint.inspect import Judgement


@dataclass(frozen=True)
class StartPreflight:
    """Finish unfinished archives, then survey the bucket, off the event loop; the result replaces the last one.

    `attempt` and the job's generation are echoed in the facts. Ignored while one is running.
    """

    attempt: int


@dataclass(frozen=True)
class StartArchive:
    """Archive exactly these judgements, all of them foreign, off the event loop. Ignored while one is running."""

    attempt: int
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class CreateAttempt:
    """Apply ConfigMap, Service and, last, Job of this attempt; harmless to repeat."""

    number: int
    resume_from: str | None


@dataclass(frozen=True)
class DeleteAttempt:
    """Delete Job (background propagation, so that pods end with their grace), Service and ConfigMap of this attempt."""

    number: int


@dataclass(frozen=True)
class PollProgress:
    """Fetch `/progress` of the pod with index 0, off the event loop; the job is reconciled when the answer is there."""

    attempt: int
    pod: str
    ip: str


@dataclass(frozen=True)
class DeleteJob:
    """Delete the custom resource (with its uid as precondition): its time to live after the end is over."""


Action = StartPreflight | StartArchive | CreateAttempt | DeleteAttempt | PollProgress | DeleteJob


@dataclass(frozen=True)
class Event:
    """A Kubernetes event about the job; `reason` is a constant of `decide.events.EventReason`."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """The new status (None: not our job, leave it alone), what to do, what to say, and when to look again.

    `write_status` is False if nothing changed, or only progress did and the last write is younger than 10 s; then
    `requeue_after` brings the job back in time. `requeue_after` is in seconds; None: only when something changes.
    """

    status: JobStatus | None
    write_status: bool = False
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
