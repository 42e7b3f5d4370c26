"""Storage work off the event loop: a bounded pool of threads, one piece of work a job, results kept by the job's uid.

Nothing here must survive the process: a killed operator surveys again, and a half-done archive is finished by the next
preflight, whoever runs it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.store import Credentials
from t2i_operator.archive_work import run_job_archive
from t2i_operator.cache import JobKey
from t2i_operator.cluster import Cluster, ClusterError
from t2i_operator.credentials import CredentialsError, read_credentials, read_initial_weights_credentials
from t2i_operator.observed import ArchiveFacts, PreflightFacts, StorageError, StorageErrorKind
from t2i_operator.plan import StartArchive
from t2i_operator.preflight import Keys, run_preflight
from t2i_operator.probes import Probes
from t2i_operator.storage_policy import StorageRule, refusal
from t2i_operator.telemetry import Telemetry

log = logging.getLogger(__name__)
_REPORT_EVERY_SECONDS = 1.0


class StorageDesk:
    """Takes orders from decisions and keeps their outcomes until the job is gone; `mark` is called on every news."""

    def __init__(  # noqa: PLR0913  # keyword-only: one call site, main.py
        self,
        cluster: Cluster,
        mark: Callable[[JobKey], None],
        *,
        workers: int,
        ambient: bool,
        telemetry: Telemetry,
        allow: tuple[StorageRule, ...] = (),
    ) -> None:
        self._cluster = cluster
        self._mark = mark
        self._ambient = ambient
        self._telemetry = telemetry
        self._allow = allow
        self._probes = Probes()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="storage")
        self._preflights: dict[str, PreflightFacts] = {}
        self._archives: dict[str, ArchiveFacts] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def preflight(self, uid: str) -> PreflightFacts | None:
        """Return the last preflight of a job, running or done."""
        return self._preflights.get(uid)

    def archive(self, uid: str) -> ArchiveFacts | None:
        """Return the last archive of a job, running or done."""
        return self._archives.get(uid)

    def start_preflight(self, job: DiffusionTrainingJob, attempt: int) -> None:
        """Look at the bucket afresh; a running look for the same attempt or a running archive is left alone."""
        uid = job.metadata.uid
        known, archive = self._preflights.get(uid), self._archives.get(uid)
        if (known is not None and known.running and known.attempt == attempt) or (archive and archive.running):
            return
        self._preflights[uid] = PreflightFacts(attempt=attempt, running=True)
        self._spawn(self._preflight(job, attempt))

    def start_archive(self, job: DiffusionTrainingJob, action: StartArchive) -> None:
        """Put checkpoints away, unless that is going on already."""
        uid = job.metadata.uid
        known, looking = self._archives.get(uid), self._preflights.get(uid)
        if (known is not None and known.running) or (looking and looking.running):
            return
        self._archives[uid] = ArchiveFacts(attempt=action.attempt, running=True, checkpoints=len(action.judgements))
        self._spawn(self._archive(job, action))

    def settle(self, uid: str, attempt: int) -> None:
        """Drop what led to an attempt that exists now: a survey of a hundred checkpoints is megabytes."""
        preflight, archive = self._preflights.get(uid), self._archives.get(uid)
        if preflight is not None and not preflight.running and preflight.attempt <= attempt:
            del self._preflights[uid]
        if archive is not None and not archive.running and archive.attempt <= attempt:
            del self._archives[uid]

    def forget(self, uid: str) -> None:
        """Drop the outcomes of a job that is gone; work that runs ends by itself."""
        self._preflights.pop(uid, None)
        self._archives.pop(uid, None)

    def close(self) -> None:
        """Take no more work; running threads end with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _preflight(self, job: DiffusionTrainingJob, attempt: int) -> None:
        uid, began_at = job.metadata.uid, time.monotonic()
        credentials = await self._checkpoint_credentials(job)
        if isinstance(credentials, StorageError):
            facts = PreflightFacts(attempt=attempt, error=credentials, finished_at=datetime.now(UTC))
        else:
            weights = await self._credentials(read_initial_weights_credentials(self._cluster, job))
            keys = Keys(checkpoint=credentials, initial_weights=weights)
            loop = asyncio.get_running_loop()
            work = partial(run_preflight, job, attempt, keys, self._probes, heard=self._telemetry.asked_store)
            facts = await loop.run_in_executor(self._pool, work)
        self._telemetry.looked(time.monotonic() - began_at, succeeded=facts.error is None)
        current = self._preflights.get(uid)
        if current is None or current.attempt != attempt:
            return
        self._preflights[uid] = facts
        if facts.survey is not None:
            log.info(
                "preflight done",
                extra={
                    "job": str(_key(job)),
                    "attempt": attempt,
                    "checkpoints": len(facts.survey.judgements),
                    "bytes_read": facts.survey.bytes_read,
                    "requests": facts.survey.requests,
                    "seconds": round(facts.survey.seconds, 3),
                },
            )
            if facts.survey.archivable:
                # What an earlier archive came to says nothing about what lies there now.
                self._archives.pop(uid, None)
        elif facts.error is not None:
            log.warning("preflight failed: %s", facts.error.message, extra={"job": str(_key(job))})
        self._mark(_key(job))

    async def _archive(self, job: DiffusionTrainingJob, action: StartArchive) -> None:
        uid, key = job.metadata.uid, _key(job)
        credentials = await self._checkpoint_credentials(job)
        if isinstance(credentials, StorageError):
            facts = ArchiveFacts(attempt=action.attempt, error=credentials, finished_at=datetime.now(UTC))
        else:
            loop = asyncio.get_running_loop()
            report = _Throttled(lambda news: loop.call_soon_threadsafe(self._archive_went_on, uid, key, news))
            heard = self._telemetry.asked_store
            work = partial(run_job_archive, job, action, credentials, self._probes, report, heard=heard)
            facts = await loop.run_in_executor(self._pool, work)
        self._telemetry.archived(facts.bytes_total, facts.objects, succeeded=facts.error is None)
        if uid in self._archives:
            self._archives[uid] = facts
        outcome = facts.error.message if facts.error else "done"
        log.info("archive: %s", outcome, extra={"job": str(key), "location": facts.location, "bytes": facts.bytes_done})
        self._mark(key)

    def _archive_went_on(self, uid: str, key: JobKey, news: ArchiveFacts) -> None:
        known = self._archives.get(uid)
        if known is not None and known.running:
            self._archives[uid] = replace(news, running=True)
            self._mark(key)

    async def _checkpoint_credentials(self, job: DiffusionTrainingJob) -> Credentials | StorageError | None:
        """Return what opens the job's bucket; a job that may not use what it names has no Secret read for it."""
        why = refusal(self._allow, job.metadata.namespace, job.spec)
        if why is not None:
            return StorageError(kind=StorageErrorKind.NOT_ALLOWED, message=why)
        return await self._credentials(read_credentials(self._cluster, job, ambient=self._ambient))

    async def _credentials(self, reading: Awaitable[Credentials | None]) -> Credentials | StorageError | None:
        try:
            return await reading
        except CredentialsError as error:
            return StorageError(kind=StorageErrorKind.CREDENTIALS_MISSING, message=str(error))
        except ClusterError as error:
            return StorageError(kind=StorageErrorKind.UNAVAILABLE, message=f"the Secret could not be read: {error}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Throttled:
    """Passes news on at most once a second; the first comes through at once."""

    def __init__(self, tell: Callable[[ArchiveFacts], Any]) -> None:
        self._tell = tell
        self._told_at = float("-inf")

    def __call__(self, facts: ArchiveFacts) -> None:
        if time.monotonic() - self._told_at >= _REPORT_EVERY_SECONDS:
            self._told_at = time.monotonic()
            self._tell(facts)


def _key(job: DiffusionTrainingJob) -> JobKey:
    return JobKey(job.metadata.namespace, job.metadata.name)
