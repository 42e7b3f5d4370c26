"""How a reconcile ended, for the metric: the few ways that an alert or a dashboard tells apart."""

from typing import Final

from t2i_api.metrics.labels import Outcome
from t2i_operator.cluster import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnreachableError
from t2i_operator.observe import UnreadableStatusError
from t2i_operator.status_write import StatusRefusedError

_OUTCOMES: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], Outcome], ...]] = (
    (ConflictError, Outcome.CONFLICT),
    (UnreachableError, Outcome.UNREACHABLE),
    ((ForbiddenError, InvalidError, NotFoundError, StatusRefusedError), Outcome.REFUSED),
    (UnreadableStatusError, Outcome.UNREADABLE),
)


def outcome_of(error: Exception) -> Outcome:
    """Return how a reconcile ended that raised this."""
    return next((outcome for kinds, outcome in _OUTCOMES if isinstance(error, kinds)), Outcome.ERROR)
