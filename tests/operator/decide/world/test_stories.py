"""What a user sees: states, events and conditions, from the first look to the end."""

from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.status import VerdictKind as V
from t2i_operator.decide import decide
from t2i_operator.plan import CreateAttempt, DeleteAttempt, DeleteJob, StartPreflight

NewWorld = Callable[..., Any]


def test_an_empty_bucket_is_judged_before_anything_is_created(new_world: NewWorld) -> None:
    world = new_world()
    assert world.reconcile().actions == (StartPreflight(attempt=1),)
    assert world.state is State.JUDGING_CHECKPOINT
    world.finish_preflight()
    decided = world.reconcile()
    assert not [action for action in decided.actions if isinstance(action, CreateAttempt)]
    assert decided.requeue_after is not None
    assert world.condition("CheckpointCompatible") == ("True", "NoCheckpoint")
    assert world.reconcile().actions == (CreateAttempt(attempt=1, resume_from=None),)


def test_the_story_of_the_old_unet(new_world: NewWorld) -> None:
    world = new_world(bucket={5000: V.FOREIGN})
    assert world.until(State.ARCHIVING) is State.ARCHIVING
    assert world.condition("CheckpointCompatible") == ("False", "Archiving")
    assert world.status.checkpoint.first_missing == ["conv_in.weight"]
    assert world.until(State.TRAINING) is State.TRAINING
    assert world.condition("CheckpointCompatible") == ("True", "Archived")
    assert world.archived == {5000: V.FOREIGN}
    # The differing names stay readable after the archive.
    assert (world.status.checkpoint.verdict, world.status.checkpoint.missing) == ("foreign", 1)
    assert world.until(State.COMPLETED) is State.COMPLETED
    assert world.said == ["CheckpointJudged", "Archived", "AttemptStarted", "Completed"]


@pytest.mark.parametrize("recorded", [False, True])
def test_an_archive_that_failed_is_made_after_all(new_world: NewWorld, recorded: bool) -> None:  # noqa: FBT001
    # The first version looked at the old failure for ever: what had failed before its intent was never begun again.
    world = new_world(bucket={5: V.FOREIGN})
    world.until(State.ARCHIVING)
    if recorded:
        world.record_intent()
    world.fail_archive()
    assert world.until(State.BLOCKED)
    assert world.condition("CheckpointCompatible") == ("Unknown", "ArchiveFailed")
    assert world.bucket == {5: V.FOREIGN}
    assert world.until(State.TRAINING)
    assert world.archived == {5: V.FOREIGN}


def test_what_appears_while_the_archive_is_made_is_archived_too(new_world: NewWorld) -> None:
    world = new_world(bucket={5: V.FOREIGN})
    world.until(State.ARCHIVING)
    world.bucket[6] = V.FOREIGN
    assert world.until(State.TRAINING)
    assert world.archived == {5: V.FOREIGN, 6: V.FOREIGN}


def test_fail_instead_of_archive_ends_the_job_and_touches_nothing(new_world: NewWorld) -> None:
    world = new_world({"spec.checkpoint.onIncompatible": "Fail"}, {5: V.FOREIGN})
    assert world.until(State.INCOMPATIBLE_CHECKPOINT)
    assert world.condition("Succeeded") == ("False", "IncompatibleCheckpoint")
    assert world.condition("CheckpointCompatible") == ("False", "Foreign")
    assert (world.bucket, world.created) == ({5: V.FOREIGN}, [])


@pytest.mark.parametrize(("kind", "known"), [(V.UNREADABLE, "Unknown"), (V.ADAPTER, "False")])
def test_in_doubt_the_job_waits_says_so_once_and_goes_on_when_it_can(new_world: NewWorld, kind: V, known: str) -> None:
    world = new_world(bucket={5: kind})
    world.until(State.BLOCKED)
    for _ in range(10):
        world.finish_preflight()
        world.reconcile()
        world.wait(20)
    assert world.state is State.BLOCKED
    assert world.condition("CheckpointCompatible")[0] == known
    assert len(world.said) == len(set(world.said))
    assert not world.created
    del world.bucket[5]
    assert world.until(State.TRAINING)


def test_suspended_and_resumed_is_no_restart(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.train()
    world.changes["spec.suspend"] = True
    assert world.reconcile().actions == (DeleteAttempt(attempt=1),)
    assert world.state is State.SUSPENDING
    world.collect_garbage()
    world.reconcile()
    assert world.condition("Suspended") == ("True", "Suspended")
    assert world.condition("Running")[0] == "False"
    world.changes["spec.suspend"] = False
    world.until(State.TRAINING)
    assert world.created[-1] == CreateAttempt(attempt=2, resume_from="step-00000010-w1")
    assert (world.status.restarts.total, world.condition("Suspended")[0]) == (0, "False")


def test_a_job_suspended_from_the_start_asks_for_nothing(new_world: NewWorld) -> None:
    world = new_world({"spec.suspend": True})
    assert world.reconcile().actions == ()
    assert world.state is State.SUSPENDED


def test_a_hang_is_restarted_and_counted(new_world: NewWorld) -> None:
    world = new_world({"spec.failurePolicy.stallSeconds": 60})
    world.until(State.TRAINING)
    world.train()
    world.reconcile()
    world.wait(50)
    world.reconcile()
    assert world.state is State.TRAINING
    world.wait(20)
    assert DeleteAttempt(attempt=1) in world.reconcile().actions
    assert world.status.restarts.recent[-1].cause == "Stalled"
    assert world.status.restarts.recent[-1].counted


def test_an_operator_that_was_down_does_not_take_its_own_absence_for_a_hang(new_world: NewWorld) -> None:
    world = new_world({"spec.failurePolicy.stallSeconds": 60})
    world.until(State.TRAINING)
    world.forget()
    world.wait(3600)
    assert world.reconcile().actions == ()
    assert world.state is State.TRAINING


def test_one_dead_pod_is_noticed(new_world: NewWorld) -> None:
    world = new_world({"spec.failurePolicy.stallSeconds": 60})
    world.until(State.TRAINING)
    world.end_pods(137)
    # Its node is dead: Kubernetes cannot say that the other pod ended, so the Job is not failed yet.
    world.attempts[1] = type(world.attempts[1])(number=1, job_exists=True, pods=world.attempts[1].pods)
    world.reconcile()
    assert world.condition("Running")[0] == "False"
    world.wait(120)
    assert DeleteAttempt(attempt=1) in world.reconcile().actions


def test_the_deadline_stops_the_pods(new_world: NewWorld) -> None:
    world = new_world({"spec.failurePolicy.deadlineSeconds": 600})
    world.until(State.TRAINING)
    world.wait(601)
    assert DeleteAttempt(attempt=1) in world.reconcile().actions
    assert world.condition("Succeeded") == ("False", "DeadlineExceeded")


@pytest.mark.parametrize("too_late", [{"spec.suspend": True}, {"spec.failurePolicy.deadlineSeconds": 60}])
def test_what_is_done_is_done(new_world: NewWorld, too_late: dict[str, Any]) -> None:
    world = new_world()
    world.until(State.TRAINING)
    for _ in range(10):
        world.train()
    world.changes.update(too_late)
    world.wait(600)
    world.reconcile()
    assert world.condition("Succeeded") == ("True", "Completed")


def test_a_finished_job_is_left_alone_until_its_time_is_over(new_world: NewWorld) -> None:
    world = new_world({"spec.ttlSecondsAfterFinished": 100})
    world.until(State.COMPLETED)
    finished = world.status
    plan = world.reconcile()
    assert (plan.actions, plan.events, world.status) == ((), (), finished)
    world.wait(101)
    assert world.reconcile().actions == (DeleteJob(),)


@pytest.mark.parametrize(
    "changes", [{"spec.managedBy": "example.org/other"}, {"metadata.deletionTimestamp": "2026-11-24T12:00:00Z"}]
)
def test_what_is_not_ours_or_goes_away_is_not_touched(new_world: NewWorld, changes: dict[str, Any]) -> None:
    plan = decide(new_world(changes).observe())
    assert (plan.status, plan.actions, plan.events) == (None, (), ())


def test_conditions_say_of_which_generation_they_speak_and_when_they_changed(new_world: NewWorld) -> None:
    world = new_world({"metadata.generation": 7})
    world.until(State.TRAINING)
    before = world.status.condition("Running")
    assert {item.observed_generation for item in world.status.conditions} == {7}
    world.wait(600)
    world.train()
    world.reconcile()
    assert world.status.condition("Running").last_transition_time == before.last_transition_time


def test_progress_alone_may_wait(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.train()
    world.reconcile()
    world.train()
    assert world.reconcile().status_may_wait
    world.end_pods(137)
    assert not world.reconcile().status_may_wait
