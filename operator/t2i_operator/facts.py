"""Jobs and pods as the API server holds them -> the facts that decisions are made of. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from t2i_api.attempt import CONTAINER_NAME, LABEL_ATTEMPT
from t2i_api.progress import TerminationMessage
from t2i_operator.observed import AttemptFacts, PodFacts, PodPhase

Raw = Mapping[str, Any]
_INDEX = "batch.kubernetes.io/job-completion-index"


def attempts_of(job: Raw, batch_jobs: Iterable[Raw], pods: Iterable[Raw]) -> tuple[AttemptFacts, ...]:
    """Return the attempts of the custom resource `job`, oldest first.

    Labels are anybody's to write, so a Job counts only when the custom resource owns it, and a pod only when a Job owns
    it and it is no older than the custom resource: leftovers of a deleted job of the same name belong to nobody.
    """
    owner, born = job["metadata"]["uid"], job["metadata"].get("creationTimestamp", "")
    jobs: dict[int, Raw] = {}
    for raw in batch_jobs:
        number = _attempt(raw)
        if number is not None and owned_by(raw, owner):
            jobs[number] = raw
    members: dict[int, list[PodFacts]] = defaultdict(list)
    for raw in pods:
        number = _attempt(raw)
        from_job = any(reference.get("kind") == "Job" for reference in raw["metadata"].get("ownerReferences", []))
        if number is not None and from_job and raw["metadata"].get("creationTimestamp", "") >= born:
            members[number].append(pod_facts(raw, number))
    return tuple(
        _attempt_facts(number, jobs.get(number), members.get(number, [])) for number in sorted({*jobs, *members})
    )


def owned_by(raw: Raw, uid: str) -> bool:
    """Whether the object's controller is the one with this uid."""
    return any(
        reference.get("uid") == uid and reference.get("controller")
        for reference in raw["metadata"].get("ownerReferences", [])
    )


def _attempt(raw: Raw) -> int | None:
    text = raw["metadata"].get("labels", {}).get(LABEL_ATTEMPT, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def _attempt_facts(number: int, job: Raw | None, pods: list[PodFacts]) -> AttemptFacts:
    pods = sorted(pods, key=lambda pod: (pod.index, pod.name))
    if job is None:
        return AttemptFacts(number=number, job_exists=False, pods=tuple(pods))
    # FailureTarget comes first, while the Job controller still ends the other pods.
    failed = _condition(job, "Failed") or _condition(job, "FailureTarget")
    return AttemptFacts(
        number=number,
        job_exists=True,
        job_deleting="deletionTimestamp" in job["metadata"],
        job_suspended=bool(job.get("spec", {}).get("suspend", False)),
        parallelism=job.get("spec", {}).get("parallelism"),
        succeeded=_condition(job, "Complete") is not None,
        failed=failed is not None,
        failure_reason=(failed or {}).get("reason", ""),
        failure_message=(failed or {}).get("message", ""),
        pods=tuple(pods),
    )


def pod_facts(raw: Raw, attempt: int) -> PodFacts:
    """Return the facts of one pod."""
    metadata, status = raw["metadata"], raw.get("status", {})
    container: Raw = next(
        (item for item in status.get("containerStatuses", []) if item.get("name") == CONTAINER_NAME), {}
    )
    state = container.get("state", {})
    ended = state.get("terminated") or {}
    scheduled: Raw = next((item for item in status.get("conditions", []) if item.get("type") == "PodScheduled"), {})
    return PodFacts(
        name=metadata["name"],
        attempt=attempt,
        index=_index(metadata),
        phase=_phase(status.get("phase")),
        ip=status.get("podIP"),
        deleting="deletionTimestamp" in metadata,
        disrupted=_condition(raw, "DisruptionTarget") is not None,
        exit_code=ended.get("exitCode"),
        out_of_memory=ended.get("reason") == "OOMKilled",
        waiting_reason=_waiting(state.get("waiting") or {}),
        unschedulable_message=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        termination=termination_message(ended.get("message", "")),
    )


def termination_message(text: str) -> TerminationMessage | None:
    """Read a termination log; None for anything but our own JSON: a killed or foreign program wrote what it liked."""
    try:
        return TerminationMessage.model_validate_json(text) if text.startswith("{") else None
    except ValidationError:
        return None


def _phase(text: str | None) -> PodPhase:
    try:
        return PodPhase(text or PodPhase.PENDING)
    except ValueError:
        return PodPhase.UNKNOWN


def _waiting(waiting: Raw) -> str:
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    return f"{reason}: {message[:300]}" if reason and message else str(reason)


def _index(metadata: Raw) -> int:
    text = metadata.get("labels", {}).get(_INDEX) or metadata.get("annotations", {}).get(_INDEX) or ""
    return int(text) if text.isascii() and text.isdigit() else 0


def _condition(raw: Raw, kind: str) -> Raw | None:
    conditions = raw.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item.get("type") == kind and item.get("status") == "True"), None)
