"""Bucket work beside the reconcile loop: started by a decision, run in a thread, its result observed by a later decision.

Results live in this process only; a restarted operator asks the bucket again. Work on one job is serialised, so that
two threads never archive the same checkpoint.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.archive import ArchiveProgress
from t2i_checkpoint.inspect import Judgement
from t2i_operator import bucket_work
from t2i_operator.cluster import ApiError, Cluster
from t2i_operator.credentials import CredentialsError, read_credentials
from t2i_operator.keys import JobKey
from t2i_operator.observed import ArchiveFacts, PreflightFacts, StorageError, StorageErrorKind

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)


@dataclass
class _Work:
    """What is known and running for one job (by uid)."""

    key: JobKey
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    preflight: PreflightFacts | None = None
    archive: ArchiveFacts | None = None


class Storage:
    """Preflights and archives of all jobs; to be used from one event loop."""

    def __init__(self, cluster: Cluster, mark: Callable[[JobKey], None], *, threads: int, ambient: bool) -> None:
        self._cluster = cluster
        self._mark = mark
        self._ambient = ambient
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="bucket")
        self._work: dict[str, _Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def facts(self, uid: str) -> tuple[PreflightFacts | None, ArchiveFacts | None]:
        """Return what is known of a job's bucket."""
        work = self._work.get(uid)
        return (work.preflight, work.archive) if work else (None, None)

    def forget(self, key: JobKey, *, but: str | None = None) -> None:
        """Drop the results of jobs of that name, except of the one with uid `but`; running work ends unobserved."""
        for uid in [uid for uid, work in self._work.items() if work.key == key and uid != but]:
            del self._work[uid]

    def start_preflight(self, job: DiffusionTrainingJob, attempt: int) -> None:
        """Begin a preflight unless that attempt's is running; replaces an earlier result."""
        work = self._of(job)
        if work.preflight is not None and work.preflight.running and work.preflight.attempt == attempt:
            return
        work.preflight = PreflightFacts(attempt=attempt, running=True)
        self._spawn(self._preflight(work, job, attempt))

    def start_archive(self, job: DiffusionTrainingJob, attempt: int, judgements: tuple[Judgement, ...]) -> None:
        """Begin an archive unless that attempt's is running."""
        work = self._of(job)
        if work.archive is not None and work.archive.running and work.archive.attempt == attempt:
            return
        work.archive = ArchiveFacts(attempt=attempt, running=True, checkpoints=len(judgements))
        self._spawn(self._archive(work, job, attempt, judgements))

    def close(self) -> None:
        """Start nothing more; an archive that is cut here is finished by the next process."""
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _preflight(self, work: _Work, job: DiffusionTrainingJob, attempt: int) -> None:
        facts = PreflightFacts(attempt=attempt)
        async with work.lock:
            try:
                credentials = await read_credentials(self._cluster, job, ambient=self._ambient)
                survey = await self._in_thread(bucket_work.preflight, job.spec, credentials)
            except Exception as error:  # noqa: BLE001  # whatever it is, the decision has to see an end of it
                facts = replace(facts, error=_fact(error))
            else:
                facts = replace(facts, survey=survey)
        if work.preflight is not None and work.preflight.attempt == attempt:
            work.preflight = replace(facts, finished_at=datetime.now(UTC))
        self._mark(work.key)

    async def _archive(
        self, work: _Work, job: DiffusionTrainingJob, attempt: int, judgements: tuple[Judgement, ...]
    ) -> None:
        async with work.lock:
            try:
                await self._run_archive(work, job, judgements)
            except Exception as error:  # noqa: BLE001  # whatever it is, the decision has to see an end of it
                self._update_archive(work, attempt, running=False, error=_fact(error), finished_at=datetime.now(UTC))
            else:
                self._update_archive(work, attempt, running=False, done=True, finished_at=datetime.now(UTC))

    async def _run_archive(self, work: _Work, job: DiffusionTrainingJob, judgements: tuple[Judgement, ...]) -> None:
        facts = work.archive
        if facts is None:
            return
        intent = bucket_work.plan(judgements)
        self._update_archive(
            work,
            facts.attempt,
            location=intent.root.rstrip("/"),
            objects=len(intent.entries),
            bytes_total=intent.size_bytes,
        )
        credentials = await read_credentials(self._cluster, job, ambient=self._ambient)
        store = bucket_work.open_job_store(job.spec, credentials)
        loop = asyncio.get_running_loop()

        def report(progress: ArchiveProgress) -> None:
            done = progress.bytes_done if progress.stage == "Copying" else progress.bytes_total
            loop.call_soon_threadsafe(lambda: self._update_archive(work, facts.attempt, bytes_done=done))

        await self._in_thread(bucket_work.run_archive, store, intent, report)

    def _update_archive(self, work: _Work, attempt: int, **changes: Any) -> None:
        if work.archive is not None and work.archive.attempt == attempt:
            work.archive = replace(work.archive, **changes)
            self._mark(work.key)

    async def _in_thread(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **kwargs))

    def _of(self, job: DiffusionTrainingJob) -> _Work:
        key = JobKey(job.metadata.namespace, job.metadata.name)
        return self._work.setdefault(job.metadata.uid, _Work(key))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fact(error: Exception) -> StorageError:
    match error:
        case CredentialsError():
            return error.error
        case ApiError():
            return StorageError(kind=StorageErrorKind.UNAVAILABLE, message=f"the Secret could not be read: {error}")
        case _ if isinstance(error, bucket_work.EXPECTED_ERRORS):
            return bucket_work.describe(error)
        case _:
            logger.error("bucket work failed unexpectedly", exc_info=error)
            message = f"unexpected {type(error).__name__}: {error}. The operator's log has the details"
            return StorageError(kind=StorageErrorKind.UNAVAILABLE, message=message)
