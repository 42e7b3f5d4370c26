"""After a roll-back the older operator keeps what it does not know, ends nothing for it, and begins nothing of it."""

from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import AttemptStatus, JobStatus
from t2i_operator.decide import decide
from t2i_operator.observe import read_job
from t2i_operator.observed import AttemptFacts, Observed
from t2i_operator.plan import CreateAttempt

JobWith = Callable[..., DiffusionTrainingJob]


def test_a_status_of_a_newer_operator_is_written_back_whole() -> None:
    stored = {"attempt": {"number": 2, "mergedFrom": ["a", "b"]}, "verdicts": {"many": 3}, "message": "old"}
    status = JobStatus.model_validate(stored).model_copy(update={"message": "new"})
    wire = status.to_wire()
    assert wire["attempt"]["mergedFrom"] == ["a", "b"]
    assert wire["verdicts"] == {"many": 3}
    assert JobStatus.model_validate(wire) == status


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        ({"number": 1, "mergedFrom": "x"}, "status.attempt.mergedFrom"),
        (
            {"number": 1, "initialWeights": {"uri": "s3://x", "verdict": "inference-only", "share": 0.5}},
            "status.attempt.initialWeights.share",
        ),
    ],
)
def test_an_attempt_that_a_newer_operator_decided_is_not_begun_by_halves(
    observed_of: Callable[..., Observed], attempt: dict[str, Any], named: str
) -> None:
    status = JobStatus(attempt=AttemptStatus.model_validate(attempt))
    plan = decide(observed_of(status))
    assert not any(isinstance(action, CreateAttempt) for action in plan.actions)
    assert plan.status is not None
    condition = plan.status.condition("Succeeded")
    assert condition is not None
    assert condition.reason == State.BLOCKED
    assert named in condition.message
    assert [event.reason for event in plan.events] == ["OperatorTooOld"]
    again = decide(observed_of(plan.status))
    assert again.events == ()
    assert again.status == plan.status


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ({"training.fasterThanLight": False}, True),
        ({"diffusion.schedule": "Quadratic"}, True),
        ({"model.unet": {"config": {"new_option": 1}}}, True),
        ({"data.resolution": 33}, False),
    ],
)
def test_what_only_a_newer_crd_takes_is_told_from_a_mistake(
    job_with: JobWith,
    change: dict[str, Any],
    unknown: bool,  # noqa: FBT001
) -> None:
    raw = {**job_with().model_dump(mode="json", by_alias=True, exclude_none=True)}
    for path, value in change.items():
        group, name = path.split(".")
        raw["spec"].setdefault(group, {})[name] = value
    fault = read_job(raw)[1]
    assert bool(fault.unknown) == unknown
    assert bool(fault.invalid) != unknown


def test_a_spec_that_is_not_understood_neither_ends_nor_stops_the_job(
    observed_of: Callable[..., Observed], running_attempt: Callable[..., AttemptFacts]
) -> None:
    status = JobStatus(attempt=AttemptStatus(number=1), gpus=16)
    plan = decide(observed_of(status, unknown_spec="spec.training.x: Extra inputs", attempts=(running_attempt(),)))
    assert plan.actions == ()
    assert plan.requeue_after is not None
    assert plan.status is not None
    assert plan.status.gpus == 16
    assert plan.status.attempt == status.attempt
    condition = plan.status.condition("Succeeded")
    assert condition is not None
    assert (condition.status, condition.reason) == ("Unknown", State.BLOCKED)
    assert "spec.training.x" in condition.message
