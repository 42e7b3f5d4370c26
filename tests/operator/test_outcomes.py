"""A reconcile that failed is counted by what that means."""

import pytest

from t2i_api.metrics.labels import Outcome
from t2i_operator.cluster import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnreachableError,
)
from t2i_operator.observe import UnreadableStatusError
from t2i_operator.outcomes import outcome_of
from t2i_operator.status_write import StatusRefusedError

RAW = {"metadata": {"namespace": "team", "name": "emoji", "uid": "u", "resourceVersion": "1"}}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConflictError("x"), Outcome.CONFLICT),
        (UnreachableError("x"), Outcome.UNREACHABLE),
        (ForbiddenError("x"), Outcome.REFUSED),
        (InvalidError("x"), Outcome.REFUSED),
        (NotFoundError("x"), Outcome.REFUSED),
        (StatusRefusedError("x", RAW), Outcome.REFUSED),
        (UnreadableStatusError(RAW, "x"), Outcome.UNREADABLE),
        (ClusterError("x"), Outcome.ERROR),
        (ValueError("x"), Outcome.ERROR),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_has_one_outcome(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome
