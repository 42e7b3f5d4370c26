"""The end of a job, good or bad: what it leaves, and when it is deleted."""

from datetime import timedelta

from t2i_api.conditions import ConditionType, State
from t2i_api.status import JobStatus
from t2i_operator.decide.draft import Draft
from t2i_operator.plan import DeleteAttempt, DeleteJob


def is_finished(status: JobStatus) -> bool:
    """Whether the summary condition is decided."""
    condition = status.condition(ConditionType.SUCCEEDED)
    return condition is not None and condition.status != "Unknown"


def finish(draft: Draft, state: State, message: str) -> None:
    """Fail the job: stop whatever runs, keep what lies in the bucket."""
    draft.condition(ConditionType.RUNNING, "False", state, message)
    draft.state(state, message, status="False")
    draft.event(state, message, warning=True)
    _end_attempt(draft, state)
    _stop_everything(draft)


def complete(draft: Draft, message: str) -> None:
    """Succeed."""
    draft.condition(ConditionType.RUNNING, "False", State.COMPLETED, message)
    draft.state(State.COMPLETED, message, status="True")
    draft.event(State.COMPLETED, message)
    _end_attempt(draft, State.COMPLETED)
    draft.look_again(timedelta(0))


def tend_finished(draft: Draft) -> None:
    """A finished job stays as it is: its pods are kept for their logs if it succeeded, and stopped if it did not."""
    condition = draft.status.condition(ConditionType.SUCCEEDED)
    if condition is None:
        return
    if condition.status == "False":
        _stop_everything(draft)
    ttl = draft.observed.job.spec.ttl_seconds_after_finished
    if ttl is None:
        return
    left = condition.last_transition_time + timedelta(seconds=ttl) - draft.now
    if left <= timedelta(0):
        draft.actions.append(DeleteJob())
    else:
        draft.look_again(left)


def _end_attempt(draft: Draft, outcome: str) -> None:
    attempt = draft.status.attempt
    if attempt is not None and attempt.finished_at is None:
        draft.update(attempt=attempt.model_copy(update={"finished_at": draft.now, "outcome": str(outcome)}))


def _stop_everything(draft: Draft) -> None:
    for facts in draft.observed.attempts:
        # One that is over runs nothing; its pods stay for their logs.
        over = facts.failed or facts.succeeded
        if facts.job_exists and not facts.job_deleting and not over:
            draft.actions.append(DeleteAttempt(attempt=facts.number))
