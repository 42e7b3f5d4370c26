"""From plain Kubernetes objects to the facts that a decision rests on; pure. No other module parses a pod."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from t2i_api.attempt import CONTAINER_NAME
from t2i_api.base import describe
from t2i_api.job import DiffusionTrainingJob, ObjectMetadata
from t2i_api.progress import MAXIMUM_TERMINATION_BYTES, Progress, TerminationMessage
from t2i_api.status import JobStatus
from t2i_operator.keys import attempt_number
from t2i_operator.observed import ArchiveFacts, AttemptFacts, Observed, PodFacts, PodPhase, PreflightFacts

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
_OUT_OF_MEMORY = "OOMKilled"


def read_job(document: dict[str, Any]) -> tuple[DiffusionTrainingJob, str]:
    """Return the job and, where its spec cannot be read, why; its `spec` is None then."""
    try:
        return DiffusionTrainingJob.from_object(document), ""
    except ValidationError as error:
        job = DiffusionTrainingJob.model_construct(
            metadata=ObjectMetadata.model_validate(document["metadata"]), spec=None, status=_status(document)
        )
        return job, describe(error)


def observe(
    job: DiffusionTrainingJob,
    *,
    now: datetime,
    batch_jobs: Iterable[dict[str, Any]],
    pods: Iterable[dict[str, Any]],
    preflight: PreflightFacts | None = None,
    archive: ArchiveFacts | None = None,
    progress: Progress | None = None,
    invalid_spec: str = "",
    last_status_write: datetime | None = None,
) -> Observed:
    """Gather the facts about one job."""
    return Observed(
        job=job,
        now=now,
        created_at=_time(job.metadata.creation_timestamp) or now,
        attempts=attempts(job.metadata.uid, batch_jobs, pods),
        preflight=preflight,
        archive=archive,
        progress=progress,
        invalid_spec=invalid_spec,
        last_status_write=last_status_write,
    )


def attempts(
    job_uid: str, batch_jobs: Iterable[dict[str, Any]], pods: Iterable[dict[str, Any]]
) -> tuple[AttemptFacts, ...]:
    """Group children by attempt, oldest first; those of an earlier job with the same name are not ours."""
    all_jobs = tuple(batch_jobs)
    ours = {number: found for found in all_jobs if _owned_by(found, job_uid) and (number := attempt_number(found))}
    foreign = {found["metadata"]["uid"] for found in all_jobs if not _owned_by(found, job_uid)}
    grouped: dict[int, list[PodFacts]] = {number: [] for number in ours}
    for pod in pods:
        number = attempt_number(pod)
        if number is not None and not any(_owned_by(pod, uid) for uid in foreign):
            grouped.setdefault(number, []).append(pod_facts(pod, number))
    return tuple(
        _attempt(number, ours.get(number), sorted(found, key=lambda pod: (pod.index, pod.name)))
        for number, found in sorted(grouped.items())
    )


def _attempt(number: int, batch_job: dict[str, Any] | None, pods: list[PodFacts]) -> AttemptFacts:
    if batch_job is None:
        return AttemptFacts(number=number, job_exists=False, pods=tuple(pods))
    failed = _condition(batch_job, "Failed") or _condition(batch_job, "FailureTarget")
    return AttemptFacts(
        number=number,
        job_exists=True,
        job_deleting="deletionTimestamp" in batch_job["metadata"],
        job_suspended=bool(batch_job.get("spec", {}).get("suspend")),
        succeeded=_condition(batch_job, "Complete") is not None,
        failed=failed is not None,
        failure_reason=str((failed or {}).get("reason", "")),
        failure_message=str((failed or {}).get("message", "")),
        pods=tuple(pods),
    )


def pod_facts(pod: dict[str, Any], attempt: int) -> PodFacts:
    """Bucket one pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    container = _container(status)
    state = container.get("state") or {}
    terminated = state.get("terminated") or {}
    return PodFacts(
        name=metadata["name"],
        attempt=attempt,
        index=pod_index(pod),
        phase=_phase(status.get("phase")),
        ip=status.get("podIP"),
        deleting="deletionTimestamp" in metadata,
        disrupted=_condition(pod, "DisruptionTarget") is not None,
        exit_code=terminated.get("exitCode"),
        out_of_memory=_OUT_OF_MEMORY in {terminated.get("reason"), status.get("reason")},
        waiting_reason=str((state.get("waiting") or {}).get("reason", "")),
        unschedulable_message=_unschedulable(pod),
        termination=_termination(terminated.get("message")),
    )


def pod_index(pod: dict[str, Any]) -> int:
    """Return the completion index that the Job controller stamped on the pod; 0 where it is missing."""
    metadata = pod["metadata"]
    for place in (metadata.get("labels") or {}, metadata.get("annotations") or {}):
        text = place.get(COMPLETION_INDEX, "")
        if text.isascii() and text.isdigit():
            return int(text)
    return 0


def _phase(text: str | None) -> PodPhase:
    try:
        return PodPhase(text or PodPhase.PENDING)
    except ValueError:
        return PodPhase.UNKNOWN


def _container(status: dict[str, Any]) -> dict[str, Any]:
    containers = status.get("containerStatuses") or []
    return next((found for found in containers if found.get("name") == CONTAINER_NAME), {})


def _condition(document: dict[str, Any], type_: str) -> dict[str, Any] | None:
    conditions: list[dict[str, Any]] = (document.get("status") or {}).get("conditions") or []
    return next((found for found in conditions if found.get("type") == type_ and found.get("status") == "True"), None)


def _unschedulable(pod: dict[str, Any]) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return str(condition.get("message", "")) or "Unschedulable"
    return ""


def _termination(message: str | None) -> TerminationMessage | None:
    # The container wrote it: whatever is in there, an unreadable message is only the absence of one.
    if not message or len(message.encode()) > MAXIMUM_TERMINATION_BYTES:
        return None
    try:
        return TerminationMessage.model_validate(json.loads(message))
    except (ValueError, RecursionError):
        return None


def _owned_by(document: dict[str, Any], uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in document["metadata"].get("ownerReferences") or [])


def _status(document: dict[str, Any]) -> JobStatus | None:
    try:
        return JobStatus.model_validate(document.get("status") or {})
    except ValidationError:
        return None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
