"""Observed -> Plan: pure and total. Each policy has a file; this one says in which order they are asked."""

from t2i_api.conditions import ConditionType, State
from t2i_api.job import DEFAULT_CONTROLLER
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.failed_action import show_failed_action
from t2i_operator.decide.finished import finish, is_finished, tend_finished
from t2i_operator.decide.newer import not_understood
from t2i_operator.decide.preparation import prepare
from t2i_operator.decide.reasons import ConditionReason
from t2i_operator.decide.running import completed, run
from t2i_operator.decide.suspension import suspend
from t2i_operator.observed import Observed
from t2i_operator.plan import Plan

__all__ = ["decide"]


def decide(observed: Observed) -> Plan:
    """Return what to do about one job. Never raises; deciding again on the result changes nothing."""
    job = observed.job
    if job.spec.managed_by not in {None, DEFAULT_CONTROLLER} or job.metadata.deletion_timestamp is not None:
        # Another controller's, or on its way out: owner references remove the children.
        return Plan(status=None)
    draft = Draft.of(observed)
    if is_finished(draft.status):
        tend_finished(draft)
        return draft.plan()
    if observed.unknown_spec:
        return not_understood(observed)
    if observed.invalid_spec:
        finish(draft, State.BAD_CONFIGURATION, observed.invalid_spec)
    elif (finished := completed(draft)) is not None:
        # Whatever else happened since: it is done.
        run(draft, finished)
    elif _past_deadline(draft):
        finish(draft, State.DEADLINE_EXCEEDED, "failurePolicy.deadlineSeconds is over: checkpoints are kept")
    elif job.spec.suspend:
        suspend(draft)
    else:
        draft.condition(ConditionType.SUSPENDED, "False", ConditionReason.NOT_SUSPENDED, "spec.suspend is false")
        attempt = draft.status.attempt
        if attempt is None or attempt.finished_at is not None:
            prepare(draft)
        else:
            run(draft, attempt)
    if not is_finished(draft.status):
        show_failed_action(draft)
    return draft.plan()


def _past_deadline(draft: Draft) -> bool:
    seconds = draft.observed.job.spec.failure_policy.deadline_seconds
    return seconds is not None and (draft.now - draft.observed.created_at).total_seconds() > seconds
