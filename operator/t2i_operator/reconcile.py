"""One reconcile of one job: observe, decide, write the status, apply, announce; nothing else happens anywhere.

The status is written before anything is done, and nothing is done when that write fails: whoever is killed here finds
in the status what was decided, and decides again.
"""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import JobStatus
from t2i_operator.apply import Applier
from t2i_operator.cache import JobCache, JobKey
from t2i_operator.cluster import EVENTS, Cluster, ClusterError, ConflictError, UnreachableError
from t2i_operator.decide import decide
from t2i_operator.decide.reasons import EventReason
from t2i_operator.events import event_object
from t2i_operator.observe import Observer, UnreadableStatusError
from t2i_operator.observed import FailedAction, Observed
from t2i_operator.plan import Event, Plan
from t2i_operator.status_write import StatusRefusedError, StatusWriter

log = logging.getLogger(__name__)
PROGRESS_EVERY = timedelta(seconds=10)


class Forgetful(Protocol):
    """Whoever remembers something of a job by its uid."""

    def forget(self, uid: str) -> None:
        """Drop it."""


@dataclass
class Reconciler:
    """Reconciles jobs by key; the queue sees to it that no key is here twice at a time."""

    cluster: Cluster
    cache: JobCache
    observer: Observer
    applier: Applier
    instance: str
    remembering: tuple[Forgetful, ...] = ()
    failed: dict[JobKey, FailedAction] = field(default_factory=dict)
    written_at: dict[JobKey, datetime] = field(default_factory=dict)
    uids: dict[JobKey, str] = field(default_factory=dict)

    async def reconcile(self, key: JobKey) -> float | None:
        """Move one job one step on; returns the seconds until it is due again, None if only news makes it so."""
        try:
            seen = await self.observer.observe(key, self.written_at.get(key))
        except UnreadableStatusError as error:
            await self._announce(error.job, (_unreadable(error),), str(error.job.metadata.resource_version))
            raise
        if seen is None:
            self._is_gone(key)
            return None
        observed, raw = seen
        self._notice_incarnation(key, observed.job.metadata.uid)
        self.cache.put(raw)
        plan = decide(replace(observed, failed_action=self.failed.get(key)))
        if plan.status is None:
            return None
        if _must_wait(plan, observed):
            return _seconds(plan.requeue_after)
        try:
            version = await self._write_status(key, raw, observed, plan.status)
        except StatusRefusedError as error:
            self.cache.put(error.raw)
            refused = Event(reason=EventReason.STATUS_REFUSED, message=str(error), type="Warning")
            await self._announce(observed.job, (refused,), str(error.raw["metadata"]["resourceVersion"]))
            raise
        await self._act(key, observed, plan, version)
        await self._announce(observed.job, plan.events, version)
        return _seconds(plan.requeue_after)

    async def _act(self, key: JobKey, observed: Observed, plan: Plan, version: str) -> None:
        for action in plan.actions:
            try:
                await self.applier.apply(observed.job, action)
            except ClusterError as error:
                name = type(action).__name__
                if not isinstance(error, UnreachableError):
                    # The next decision says it in a condition, before it tries again.
                    self.failed[key] = FailedAction(action=name, message=str(error))
                failure = Event(reason=f"{name}Failed", message=str(error), type="Warning")
                await self._announce(observed.job, (*plan.events, failure), version)
                raise
        self.failed.pop(key, None)

    def _is_gone(self, key: JobKey) -> None:
        self._notice_incarnation(key, None)
        known = self.cache.get(key)
        if known is not None:
            self.cache.drop(known)

    def _notice_incarnation(self, key: JobKey, uid: str | None) -> None:
        """Drop what is remembered of a job that was deleted, also if another one has its name now."""
        old = self.uids.get(key)
        if old is not None and old != uid:
            for memory in (*self.remembering, self.observer):
                memory.forget(old)
            self.written_at.pop(key, None)
            self.failed.pop(key, None)
        if uid is None:
            self.uids.pop(key, None)
        else:
            self.uids[key] = uid

    async def _write_status(self, key: JobKey, raw: dict[str, Any], observed: Observed, status: JobStatus) -> str:
        """Write the status if it differs, only on the version that was observed; returns the job's version."""
        if status == observed.job.status:
            return str(raw["metadata"]["resourceVersion"])
        written = await StatusWriter(self.cluster).write(raw, status)
        self.written_at[key] = observed.now
        self.cache.put(written)
        return str(written["metadata"]["resourceVersion"])

    async def _announce(self, job: DiffusionTrainingJob, events: tuple[Event, ...], version: str) -> None:
        for event in events:
            log.info("event %s: %s", event.reason, event.message, extra={"job": job.metadata.name})
            body = event_object(job, event, version=version, instance=self.instance)
            try:
                await self.cluster.create(EVENTS, body)
            except ConflictError:
                continue  # told already
            except ClusterError as error:
                # Events are a courtesy: the condition says the same, and no decision depends on one.
                log.warning("event %s not written: %s", event.reason, error)


def _unreadable(error: UnreadableStatusError) -> Event:
    return Event(reason=EventReason.STATUS_UNREADABLE, message=str(error), type="Warning")


def _must_wait(plan: Plan, observed: Observed) -> bool:
    """Whether only progress changed and the last write is too fresh."""
    last = observed.last_status_write
    if not plan.status_may_wait or plan.actions or plan.events or plan.status == observed.job.status or last is None:
        return False
    return observed.now - last < PROGRESS_EVERY


def _seconds(after: timedelta | None) -> float | None:
    return None if after is None else max(0.0, after.total_seconds())
