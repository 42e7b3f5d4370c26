"""What the API server refuses shows in the job's conditions, not only in the operator's log; it is tried again."""

from t2i_api.conditions import ConditionType, State
from t2i_operator.decide.draft import Draft
from t2i_operator.plan import CreateAttempt


def show_failed_action(draft: Draft) -> None:
    """Say that an action failed, if it failed last time and this decision asks for it again."""
    failed = draft.observed.failed_action
    if failed is None:
        return
    action = next((action for action in draft.actions if type(action).__name__ == failed.action), None)
    if action is None:
        return
    message = f"{failed.message}. The operator tries again"
    if isinstance(action, CreateAttempt):
        draft.condition(ConditionType.RUNNING, "False", f"{failed.action}Failed", message)
    draft.state(State.BLOCKED, message)
