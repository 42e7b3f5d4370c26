"""Kubernetes objects -> facts: labels are not believed without owners, and no text of a pod can break anything."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.attempt import labels
from t2i_api.progress import ExitCode, TerminationMessage
from t2i_operator.facts import attempts_of, pod_facts, termination_message
from t2i_operator.observed import PodPhase

BORN = "2026-01-01T10:00:00Z"
JOB = {"metadata": {"name": "emoji", "namespace": "team", "uid": "u1", "creationTimestamp": BORN}}
BROKEN = TerminationMessage(exit_code=ExitCode.BAD_CONFIGURATION, reason="BadConfiguration", message="no such encoder")


def batch_job(attempt: int, *, owner: str = "u1", **status: Any) -> dict[str, Any]:
    metadata = {
        "name": f"emoji-{attempt}",
        "labels": labels("emoji", attempt),
        "ownerReferences": [{"kind": "DiffusionTrainingJob", "uid": owner, "controller": True}],
    }
    return {"metadata": metadata, "spec": {"parallelism": 2}, "status": status}


def pod(attempt: int, index: int = 0, *, created: str = BORN, **status: Any) -> dict[str, Any]:
    metadata = {
        "name": f"emoji-{attempt}-{index}-x",
        "creationTimestamp": created,
        "labels": {**labels("emoji", attempt), "batch.kubernetes.io/job-completion-index": str(index)},
        "ownerReferences": [{"kind": "Job", "uid": "j", "controller": True}],
    }
    return {"metadata": metadata, "status": status}


def ended(code: int, *, reason: str = "Error", message: str = "") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return {"phase": "Failed", "containerStatuses": [{"name": "trainer", "state": state}]}


def test_children_are_grouped_by_attempt_oldest_first() -> None:
    first, second = attempts_of(JOB, [batch_job(2)], [pod(2, 1), pod(2, 0), pod(1, phase="Running")])
    assert (first.number, first.job_exists, len(first.pods)) == (1, False, 1)
    assert (second.number, second.job_exists, second.parallelism) == (2, True, 2)
    assert [item.index for item in second.pods] == [0, 1]


def test_a_job_of_another_owner_is_not_ours_whatever_its_labels_say() -> None:
    assert attempts_of(JOB, [batch_job(1, owner="somebody")], []) == ()


def test_pods_of_a_deleted_job_of_the_same_name_are_not_ours() -> None:
    assert attempts_of(JOB, [], [pod(1, created="2026-01-01T09:59:59Z")]) == ()


def test_a_labelled_pod_that_no_job_owns_is_not_ours() -> None:
    stray = pod(1)
    stray["metadata"]["ownerReferences"] = []
    assert attempts_of(JOB, [], [stray]) == ()


@pytest.mark.parametrize("kind", ["Failed", "FailureTarget"])
def test_a_failing_job_is_failed_as_soon_as_the_controller_says_so(kind: str) -> None:
    condition = {"type": kind, "status": "True", "reason": "PodFailurePolicy", "message": "pod failed"}
    (attempt,) = attempts_of(JOB, [batch_job(1, conditions=[condition])], [])
    assert (attempt.failed, attempt.failure_reason) == (True, "PodFailurePolicy")


def test_complete_suspended_and_deleting_are_told_apart() -> None:
    raw = batch_job(1, conditions=[{"type": "Complete", "status": "True"}])
    raw["spec"]["suspend"] = True
    raw["metadata"]["deletionTimestamp"] = BORN
    (attempt,) = attempts_of(JOB, [raw], [])
    assert (attempt.succeeded, attempt.failed, attempt.job_suspended, attempt.job_deleting) == (True, False, True, True)


def test_the_end_of_a_pod_is_read_with_its_last_words() -> None:
    facts = pod_facts(pod(1, 1, **ended(20, message=BROKEN.to_log())), 1)
    assert (facts.exit_code, facts.index, facts.over, facts.out_of_memory) == (20, 1, True, False)
    assert facts.termination == BROKEN


def test_out_of_memory_disruption_and_waiting_have_facts_of_their_own() -> None:
    assert pod_facts(pod(1, **ended(137, reason="OOMKilled")), 1).out_of_memory
    disrupted = pod(1, phase="Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
    assert pod_facts(disrupted, 1).disrupted
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
    assert pod_facts(pod(1, conditions=[unschedulable]), 1).unschedulable_message == "no GPU"
    waiting = {"name": "trainer", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
    assert pod_facts(pod(1, containerStatuses=[waiting]), 1).waiting_reason == "ErrImagePull: no such image"


def test_a_pod_without_status_is_pending_and_a_strange_phase_unknown() -> None:
    bare = pod(1)
    del bare["status"]
    assert pod_facts(bare, 1).phase is PodPhase.PENDING
    assert pod_facts(pod(1, phase="Hibernating"), 1).phase is PodPhase.UNKNOWN


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")) | st.just("{" * 5000))
def test_no_termination_log_breaks_anything(text: str) -> None:
    assert termination_message(text) is None
