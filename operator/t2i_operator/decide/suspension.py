"""`suspend: true`: the pods get their grace to save a checkpoint; the job stays and goes on from there later."""

from datetime import timedelta

from t2i_api.conditions import ConditionType, State
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.progress import last_report
from t2i_operator.decide.report import show_report
from t2i_operator.plan import DeleteAttempt

_POLL = timedelta(seconds=2)


def suspend(draft: Draft) -> None:
    """Stop the newest attempt and say so; what runs in the bucket meanwhile (an archive) goes on by itself."""
    _keep_last_report(draft)
    for facts in draft.observed.attempts:
        if facts.job_exists and not facts.job_deleting:
            draft.actions.append(DeleteAttempt(attempt=facts.number))
    attempt = draft.status.attempt
    if attempt is not None and attempt.finished_at is None:
        draft.update(attempt=attempt.model_copy(update={"finished_at": draft.now, "outcome": str(State.SUSPENDED)}))
    old = draft.status.condition(ConditionType.SUSPENDED)
    if any(facts.job_exists or any(not pod.over for pod in facts.pods) for facts in draft.observed.attempts):
        message = "stopping: pods have their grace to save a checkpoint"
        draft.condition(ConditionType.SUSPENDED, "False", State.SUSPENDING, message)
        draft.condition(ConditionType.RUNNING, "False", State.SUSPENDING, message)
        draft.state(State.SUSPENDING, message)
        draft.look_again(_POLL)
        return
    message = "suspended: set spec.suspend to false to go on from the last checkpoint"
    if old is None or old.status != "True":
        draft.event(State.SUSPENDED, message)
    draft.condition(ConditionType.SUSPENDED, "True", State.SUSPENDED, message)
    draft.condition(ConditionType.RUNNING, "False", State.SUSPENDED, message)
    draft.state(State.SUSPENDED, message)


def _keep_last_report(draft: Draft) -> None:
    attempt = draft.status.attempt
    facts = draft.observed.attempt(attempt.number) if attempt is not None else None
    report = last_report(facts, draft.observed.progress) if facts is not None else None
    if report is not None and attempt is not None:
        show_report(draft, attempt, report)
