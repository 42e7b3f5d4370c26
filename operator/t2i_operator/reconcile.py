"""One job, once: observe, decide, write the status, act, tell. Reads like a table of contents on purpose.

Nothing is acted on before the status that says so is written, and the write names the very version that was decided
upon: a stale picture ends in a conflict, never in an overwritten status.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from t2i_api.job import DEFAULT_CONTROLLER, DiffusionTrainingJob
from t2i_api.status import JobStatus
from t2i_operator.apply import Applier, NameTakenError
from t2i_operator.cache import Cache, Kind
from t2i_operator.cluster import JOBS, ApiError, Cluster
from t2i_operator.decide import decide
from t2i_operator.events import Events
from t2i_operator.keys import JobKey
from t2i_operator.observe import observe, read_job
from t2i_operator.observed import Observed
from t2i_operator.plan import Event, Plan
from t2i_operator.progress_poll import ProgressPoll
from t2i_operator.storage import Storage
from t2i_operator.telemetry import Telemetry

logger = logging.getLogger(__name__)

_AT_ONCE = timedelta(0)


class Reconciler:
    """Brings one job after the other closer to what its spec asks for."""

    def __init__(  # noqa: PLR0913  # the parts it joins, by name
        self,
        *,
        cluster: Cluster,
        cache: Cache,
        storage: Storage,
        progress: ProgressPoll,
        applier: Applier,
        events: Events,
        telemetry: Telemetry,
        status_interval: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._storage = storage
        self._progress = progress
        self._applier = applier
        self._events = events
        self._telemetry = telemetry
        self._status_interval = status_interval
        self._now = now
        self._written: dict[JobKey, datetime] = {}

    async def reconcile(self, key: JobKey) -> timedelta | None:
        """Reconcile one job; returns when to look again. Raises what the queue answers with backoff."""
        started = time.monotonic()
        outcome = "error"
        try:
            outcome, again = await self._reconcile(key)
        finally:
            self._telemetry.reconciled(outcome, time.monotonic() - started)
        return again

    async def _reconcile(self, key: JobKey) -> tuple[str, timedelta | None]:
        document = self._cache.job(key)
        if document is None:
            self._forget(key)
            return "gone", None
        if not _is_ours(document) or "deletionTimestamp" in document["metadata"]:
            return "ignored", None
        observed = self._observe(key, document)
        plan = decide(observed)
        wait = self._may_wait(key, observed, plan)
        if wait is not None:
            return "waiting", wait
        if not await self._write_status(key, document, observed.job.status, plan):
            return "conflict", None
        await self._act(observed.job, plan)
        for event in plan.events:
            await self._events.emit(observed.job, event)
        return "success", plan.requeue_after

    def _observe(self, key: JobKey, document: dict[str, Any]) -> Observed:
        job, invalid = read_job(document)
        self._storage.forget(key, but=job.metadata.uid)
        preflight, archive = self._storage.facts(job.metadata.uid)
        return observe(
            job,
            now=self._now(),
            batch_jobs=self._cache.children(Kind.BATCH_JOB, key),
            pods=self._cache.children(Kind.POD, key),
            preflight=preflight,
            archive=archive,
            progress=self._progress.newest(job.metadata.uid),
            invalid_spec=invalid,
            last_status_write=self._written.get(key),
        )

    def _may_wait(self, key: JobKey, observed: Observed, plan: Plan) -> timedelta | None:
        last = self._written.get(key)
        if not plan.status_may_wait or plan.actions or plan.events or last is None:
            return None
        left = last + self._status_interval - observed.now
        if left <= timedelta(0):
            return None
        return left if plan.requeue_after is None else min(left, plan.requeue_after)

    async def _write_status(self, key: JobKey, document: dict[str, Any], old: JobStatus | None, plan: Plan) -> bool:
        """Write what changed; False where the job moved on or is gone, so that its next version decides."""
        if plan.status is None or (old is not None and plan.status == old):
            return True
        wanted = {**document, "status": plan.status.to_wire()}
        try:
            written = await self._cluster.replace(JOBS, wanted, part="status")
        except ApiError as error:
            if error.conflict:
                # The watch may be behind by more than this write: look for ourselves.
                await self._refresh(key)
                return False
            if error.not_found:
                self._cache.remove(Kind.JOB, document)
                return False
            raise
        self._written[key] = self._now()
        self._cache.put(Kind.JOB, written)
        return True

    async def _refresh(self, key: JobKey) -> None:
        try:
            self._cache.put(Kind.JOB, await self._cluster.get(JOBS, key.namespace, key.name))
        except ApiError as error:
            if not error.not_found:
                raise

    async def _act(self, job: DiffusionTrainingJob, plan: Plan) -> None:
        for action in plan.actions:
            try:
                await self._applier.apply(job, action)
            except (ApiError, NameTakenError) as error:
                reason = f"{type(action).__name__}Failed"
                await self._events.emit(job, Event(reason=reason, message=str(error), type="Warning"))
                raise

    def _forget(self, key: JobKey) -> None:
        self._written.pop(key, None)
        self._storage.forget(key)


def _is_ours(document: dict[str, Any]) -> bool:
    controller = (document.get("spec") or {}).get("managedBy")
    return controller is None or controller == DEFAULT_CONTROLLER
