"""What a newer operator or CRD wrote: nothing of it is guessed, nothing is ended for it, and the way out is said.

An operator that was rolled back meets specs and statuses of the release before. What runs goes on; what is to begin
waits for an operator that knows all of it.
"""

from datetime import timedelta

from t2i_api.conditions import State
from t2i_api.status import AttemptStatus, JobStatus
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.reasons import EventReason
from t2i_operator.observed import Observed
from t2i_operator.plan import Plan

_WAY_OUT = (
    "the operator is older than the CRD: upgrade the operator. What runs goes on, nothing new is begun until then"
)
_RETRY = timedelta(seconds=60)


def not_understood(observed: Observed) -> Plan:
    """Wait where the spec says what this operator does not know; the job is neither ended nor judged."""
    draft = Draft.of(observed)
    draft.update(gpus=(observed.job.status or JobStatus()).gpus)
    _wait(draft, f"this operator does not know part of the spec: {observed.unknown_spec}. Probably {_WAY_OUT}")
    return draft.plan()


def unknown_beginning(attempt: AttemptStatus) -> str:
    """Return which parts of what an attempt begins with only a newer operator knows; empty: none."""
    weights = attempt.initial_weights
    names = [*(attempt.model_extra or {})]
    names += [f"initialWeights.{name}" for name in (weights.model_extra or {} if weights is not None else {})]
    return ", ".join(f"status.attempt.{name}" for name in sorted(names))


def not_begun(draft: Draft, unknown: str) -> None:
    """Create nothing of an attempt that a newer operator decided in words that this one does not know."""
    _wait(draft, f"a newer operator decided this attempt: {unknown} is not known here; {_WAY_OUT}")


def _wait(draft: Draft, message: str) -> None:
    if draft.status.message != message[:4096]:
        draft.event(EventReason.OPERATOR_TOO_OLD, message, warning=True)
    draft.state(State.BLOCKED, message)
    draft.look_again(_RETRY)
