"""Cluster, bucket and trainer -> `Observed`: gathers every fact that a decision may know, and decides nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from t2i_api.attempt import LABEL_JOB
from t2i_api.base import describe
from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.spec_run import FailurePolicy, Workers
from t2i_api.status import JobStatus
from t2i_operator.cache import JobKey, RawObject
from t2i_operator.cluster import BATCH_JOBS, PODS, TRAINING_JOBS, Cluster, NotFoundError
from t2i_operator.facts import attempts_of
from t2i_operator.observed import Observed
from t2i_operator.progress_poll import ProgressPoller
from t2i_operator.storage import StorageDesk
from t2i_operator.workqueue import ExpectedError

_ONLY_A_NEWER_CRD_TAKES: Final = {"extra_forbidden", "enum", "literal_error"}


class Observer:
    """Gathers facts of one job at a time.

    Job, Jobs and pods are read afresh, never taken from a watch: a cache that lags or is not filled yet must not make a
    decision believe that a running attempt is gone, or create one that is over.
    """

    def __init__(
        self, cluster: Cluster, desk: StorageDesk, poller: ProgressPoller, now: Callable[[], datetime] | None = None
    ) -> None:
        self._cluster = cluster
        self._desk = desk
        self._poller = poller
        self._now = now or (lambda: datetime.now(UTC))
        self._watched_since: dict[str, datetime] = {}

    async def observe(self, key: JobKey, last_status_write: datetime | None) -> tuple[Observed, RawObject] | None:
        """Return the facts and the custom resource they are about, None if it is gone; raises ClusterError."""
        selector = f"{LABEL_JOB}={key.name}"
        try:
            raw, batch_jobs, pods = await asyncio.gather(
                self._cluster.get(TRAINING_JOBS, key.namespace, key.name),
                self._cluster.list(BATCH_JOBS, key.namespace, selector),
                self._cluster.list(PODS, key.namespace, selector),
            )
        except NotFoundError:
            return None
        job, wrong = read_job(raw)
        attempts = attempts_of(raw, batch_jobs, pods)
        uid = job.metadata.uid
        number = job.status.attempt.number if job.status is not None and job.status.attempt is not None else 0
        current = next((attempt for attempt in attempts if attempt.number == number), None)
        progress = await self._poller.poll(uid, current)
        now = self._now()
        observed = Observed(
            job=job,
            now=now,
            created_at=_time(raw["metadata"].get("creationTimestamp")) or now,
            attempts=attempts,
            preflight=self._desk.preflight(uid),
            archive=self._desk.archive(uid),
            progress=progress,
            invalid_spec=wrong.invalid,
            unknown_spec=wrong.unknown,
            last_status_write=last_status_write,
            watched_since=self._watched_since.setdefault(uid, now),
        )
        return observed, raw

    def forget(self, uid: str) -> None:
        """Drop a job that is gone."""
        self._watched_since.pop(uid, None)


class UnreadableStatusError(ExpectedError):
    """A status that another version of the operator wrote, or somebody by hand; `job` has real metadata only."""

    def __init__(self, raw: RawObject, why: str) -> None:
        super().__init__(
            f"the status of {JobKey.of(raw)} cannot be read, nothing is done about this job: {why}. Run the operator's "
            "version that wrote it, or mend it: kubectl edit dtj --subresource=status"
        )
        self.job = _without_spec(raw, None)


@dataclass(frozen=True)
class SpecFault:
    """Why a spec cannot be read although the API server took it; at most one of the two is said.

    `unknown`: it has fields or choices that only a newer operator knows, so that this one must not judge it.
    """

    invalid: str = ""
    unknown: str = ""


def read_job(raw: dict[str, Any]) -> tuple[DiffusionTrainingJob, SpecFault]:
    """Return the job and why its spec cannot be read, if so: then only metadata and status of it are real.

    Raises UnreadableStatusError for a status that cannot be read: it is ours, and nothing is safe without the attempt
    number.
    """
    try:
        status = JobStatus.model_validate(raw["status"]) if raw.get("status") else None
    except ValidationError as error:
        raise UnreadableStatusError(raw, describe(error)) from error
    try:
        return DiffusionTrainingJob.from_object(raw), SpecFault()
    except ValidationError as error:
        # The CRD names every field and choice that the operator's own release knows.
        newer = any(problem["type"] in _ONLY_A_NEWER_CRD_TAKES for problem in error.errors(include_url=False))
        why = describe(error)
        return _without_spec(raw, status), SpecFault(unknown=why) if newer else SpecFault(invalid=why)


def _without_spec(raw: RawObject, status: JobStatus | None) -> DiffusionTrainingJob:
    # Mended fields only where decisions look before they see that the spec is invalid.
    mended: dict[str, Any] = {
        "workers": Workers(),
        "failure_policy": FailurePolicy(),
        "managed_by": _controller(raw),
    }
    spec = JobSpec.model_construct(**mended)
    metadata = ObjectMetadata.model_validate(raw["metadata"])
    return DiffusionTrainingJob.model_construct(metadata=metadata, spec=spec, status=status)


def _controller(raw: RawObject) -> str | None:
    value = raw["spec"].get("managedBy") if isinstance(raw.get("spec"), dict) else None
    return value if isinstance(value, str) else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
