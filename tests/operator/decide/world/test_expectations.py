"""A run that leaves what was expected of it is marked and told of once; it is never stopped for it."""

from collections.abc import Callable
from typing import Any

from t2i_api.conditions import State
from t2i_api.findings import Finding, Severity

NewWorld = Callable[..., Any]
BANDS = {"spec.expectations": {"bands": [{"fromStep": 10, "toStep": 90, "lossAtMost": 0.1}]}}


def finding(name: str, severity: Severity = Severity.WARNING, step: int = 3) -> Finding:
    return Finding(name=name, severity=severity, step=step, sentence=f"because of {name}")


def report(world: Any, step: int, *found: Finding, as_expected: bool | None = None, sentence: str = "") -> None:
    """Rank 0 of the newest attempt says this, and the operator hears it."""
    world.progress = world.progress.model_copy(
        update={
            "attempt": world.status.attempt.number,
            "step": step,
            "as_expected": as_expected,
            "expectation": sentence or None,
            "findings": list(found),
            "updated_at": world.now,
        }
    )
    world.reconcile()


def training(new_world: NewWorld, changes: dict[str, Any] | None = None) -> Any:
    world = new_world(changes)
    world.until(State.TRAINING)
    world.train()
    return world


def shown(world: Any) -> tuple[str, str] | None:
    condition = world.status.condition("AsExpected")
    return None if condition is None else (condition.status, condition.reason)


def told(world: Any) -> list[tuple[str, str]]:
    reasons = ("NotAsExpected", "AsExpectedAgain", "Finding")
    return [(event.reason, event.type) for event in world.events if event.reason in reasons]


def test_a_run_that_leaves_its_band_and_comes_back_is_told_of_twice(new_world: NewWorld) -> None:
    world = training(new_world, BANDS)
    report(world, 5)
    assert shown(world) == ("Unknown", "NoBandDue")
    report(world, 12, as_expected=True, sentence="loss 0.09 lies at most 0.1")
    assert shown(world) == ("True", "WithinExpectations")
    assert told(world) == []
    for step, loss in ((13, "0.21"), (14, "0.22"), (15, "0.23")):
        report(world, step, as_expected=False, sentence=f"loss {loss} is above")
    assert shown(world) == ("False", "OutsideExpectations")
    assert world.status.condition("AsExpected").message == "loss 0.23 is above"
    assert told(world) == [("NotAsExpected", "Warning")]
    assert world.state is State.TRAINING
    assert len(world.created) == 1
    report(world, 16, as_expected=True, sentence="back")
    assert told(world) == [("NotAsExpected", "Warning"), ("AsExpectedAgain", "Normal")]
    report(world, 95)
    assert shown(world) == ("Unknown", "NoBandDue")


def test_the_loss_in_the_sentence_is_no_reason_to_write_the_status_at_once(new_world: NewWorld) -> None:
    world = training(new_world, BANDS)
    report(world, 13, as_expected=False, sentence="loss 0.21 is above")
    world.progress = world.progress.model_copy(update={"step": 14, "expectation": "loss 0.22 is above"})
    plan = world.reconcile()
    assert plan.status_may_wait
    assert plan.events == ()


def test_a_job_that_expects_nothing_has_no_condition_until_the_run_notices_something(new_world: NewWorld) -> None:
    world = training(new_world)
    report(world, 5)
    assert shown(world) is None
    report(world, 6, finding("CaptionsDoNotHelp"))
    assert shown(world) is None, "a warning is an event and lies in the status"
    assert [item.name for item in world.status.progress.findings] == ["CaptionsDoNotHelp"]
    wrong = finding("OutputLayerStuck", Severity.ERROR)
    report(world, 7, finding("CaptionsDoNotHelp"), wrong)
    assert shown(world) == ("False", "OutputLayerStuck")
    assert world.status.condition("AsExpected").message == "step 3: because of OutputLayerStuck"
    report(world, 8, finding("CaptionsDoNotHelp"), wrong)
    findings = [event.message for event in world.events if event.reason == "Finding"]
    assert findings == [
        "CaptionsDoNotHelp at step 3: because of CaptionsDoNotHelp",
        "OutputLayerStuck at step 3: because of OutputLayerStuck",
    ]
    assert world.state is State.TRAINING


def test_what_was_noticed_outlives_the_attempt_and_is_not_told_again(new_world: NewWorld) -> None:
    world = training(new_world, BANDS)
    report(world, 13, finding("OutsideExpectations"), as_expected=False, sentence="above")
    before = told(world)
    world.end_pods(137)
    world.until(State.TRAINING)
    report(world, 0)
    assert shown(world) == ("False", "OutsideExpectations"), "while the checkpoint loads nothing new is known"
    report(world, 14, finding("OutsideExpectations", step=14), as_expected=False, sentence="still above")
    assert told(world) == before
    assert [item.step for item in world.status.progress.findings] == [3]


def test_what_was_noticed_is_shown_of_a_finished_job_too(new_world: NewWorld) -> None:
    world = training(new_world, BANDS)
    report(world, 13, as_expected=False, sentence="above")
    assert world.until(State.COMPLETED)
    assert shown(world) is not None
