"""What a user sees: states, events and conditions, from the first look to the end."""

from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.status import VerdictKind as V
from t2i_operator.decide import decide
from t2i_operator.plan import CreateAttempt, DeleteAttempt, DeleteJob, StartPreflight

NewWorld = Callable[..., Any]


def condition(world: Any, type_: str) -> tuple[str, str]:
    found = world.status.condition(type_)
    return found.status, found.reason


def test_an_empty_bucket_is_judged_before_anything_is_created(new_world: NewWorld) -> None:
    world = new_world()
    assert world.reconcile().actions == (StartPreflight(attempt=1),)
    assert world.state is State.JUDGING_CHECKPOINT
    world.finish_preflight()
    decided = world.reconcile()
    assert not [action for action in decided.actions if isinstance(action, CreateAttempt)]
    assert decided.requeue_after is not None
    assert condition(world, "CheckpointCompatible") == ("True", "NoCheckpoint")
    assert world.reconcile().actions == (CreateAttempt(attempt=1, resume_from=None),)


def test_the_story_of_the_old_unet(new_world: NewWorld) -> None:
    world = new_world(bucket={5000: V.FOREIGN})
    assert world.until(State.ARCHIVING) is State.ARCHIVING
    assert condition(world, "CheckpointCompatible") == ("False", "Archiving")
    assert world.status.checkpoint.first_missing == ["conv_in.weight"]
    assert world.until(State.TRAINING) is State.TRAINING
    assert condition(world, "CheckpointCompatible") == ("True", "Archived")
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
    assert condition(world, "CheckpointCompatible") == ("Unknown", "ArchiveFailed")
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
    assert condition(world, "Succeeded") == ("False", "IncompatibleCheckpoint")
    assert condition(world, "CheckpointCompatible") == ("False", "Foreign")
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
    assert condition(world, "CheckpointCompatible")[0] == known
    assert len(world.said) == len(set(world.said))
    assert not world.created
    del world.bucket[5]
    assert world.until(State.TRAINING)


def test_a_killed_pod_is_resumed_at_the_last_checkpoint(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.train()
    world.train()
    world.end_pods(137)
    world.reconcile()
    assert (world.state, world.status.restarts.total, world.status.attempt.outcome) == (
        State.RESTARTING,
        1,
        "PodKilled",
    )
    world.until(State.TRAINING)
    assert world.created[-1] == CreateAttempt(attempt=2, resume_from="step-00000020-w1")
    assert (world.status.attempt.number, world.status.attempt.resumed_from_step) == (2, 20)
    assert condition(world, "CheckpointCompatible") == ("True", "Identical")
    world.until(State.COMPLETED)
    assert world.status.progress.step == 100


@pytest.mark.parametrize("job_first", [False, True])
def test_the_next_attempt_waits_for_the_last_pod(new_world: NewWorld, job_first: bool) -> None:  # noqa: FBT001
    world = new_world()
    world.until(State.TRAINING)
    world.delete_the_job_by_hand()
    if job_first:
        world.job_goes_first()
    for _ in range(20):
        assert not [action for action in world.reconcile().actions if isinstance(action, StartPreflight)]
        world.wait(10)
    assert "is gone" in world.status.message
    world.collect_garbage()
    assert world.until(State.TRAINING)
    assert world.status.attempt.number == 2


def test_an_attempt_whose_job_vanished_is_not_created_over_its_own_pods(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.STARTING)
    world.reconcile()
    world.delete_the_job_by_hand()
    world.job_goes_first()
    world.reconcile()
    world.collect_garbage()
    assert world.until(State.TRAINING)
    assert [action.attempt for action in world.created] == [1, 2]


def test_restarts_run_out(new_world: NewWorld) -> None:
    world = new_world({"spec.failurePolicy.maxRestarts": 2})
    for _ in range(3):
        world.until(State.TRAINING)
        world.end_pods(1)
        world.reconcile()
    assert condition(world, "Succeeded") == ("False", "RestartsExhausted")
    assert "maxRestarts (2)" in world.status.message
    # Its pods stay: the message says that their logs tell the cause.
    assert not world.attempts[3].job_deleting


def test_disruptions_and_interruptions_do_not_count(new_world: NewWorld) -> None:
    world = new_world({"spec.failurePolicy.maxRestarts": 0})
    for code, disrupted in ((143, True), (28, False), (137, True)):
        world.until(State.TRAINING)
        world.end_pods(code, 28, disrupted=disrupted)
        world.reconcile()
    assert world.state is State.RESTARTING
    assert (world.status.restarts.total, world.status.restarts.disruptions) == (3, 3)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (20, State.BAD_CONFIGURATION),
        (22, State.WORLD_SIZE_MISMATCH),
        (23, State.DATA_INVALID),
        (24, State.OUT_OF_MEMORY),
        (25, State.NON_FINITE_LOSS),
    ],
)
def test_what_would_fail_again_is_not_tried_again(new_world: NewWorld, code: int, state: State) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.end_pods(code)
    world.reconcile()
    assert condition(world, "Succeeded") == ("False", state)
    assert len(world.created) == 1


def test_incompatible_weights_are_judged_again_but_not_for_ever(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.end_pods(21)
    assert world.until(State.TRAINING) is State.TRAINING
    world.end_pods(21)
    world.reconcile()
    assert condition(world, "Succeeded") == ("False", "IncompatibleCheckpoint")


@pytest.mark.parametrize("disrupted", [False, True])
def test_a_checkpoint_that_cannot_be_loaded_twice_in_a_row_is_named(new_world: NewWorld, disrupted: bool) -> None:  # noqa: FBT001
    world = new_world(bucket={20: V.IDENTICAL, 10: V.IDENTICAL})
    world.until(State.TRAINING)
    world.end_pods(21)
    world.until(State.TRAINING)
    if disrupted:
        world.end_pods(143, disrupted=True)
        world.until(State.TRAINING)
    world.end_pods(21)
    world.reconcile()
    assert condition(world, "Succeeded") == ("False", "IncompatibleCheckpoint")
    assert "Twice in a row, though its headers fit: move step-00000020-w1 elsewhere" in world.status.message


def test_a_damaged_checkpoint_is_not_the_end_while_an_older_one_is_intact(new_world: NewWorld) -> None:
    # Was: the second damaged checkpoint failed the job, although a third one was sound.
    world = new_world(bucket={30: V.IDENTICAL, 20: V.IDENTICAL, 10: V.IDENTICAL})
    for damaged in (30, 20):
        world.until(State.TRAINING)
        assert world.created[-1].resume_from == f"step-{damaged:08d}-w1"
        world.end_pods(21)
        world.bucket[damaged] = V.INCOMPLETE  # as the trainer's DAMAGED.json makes it
    world.until(State.TRAINING)
    assert world.created[-1].resume_from == "step-00000010-w1"
    assert [record.began_with for record in world.status.restarts.recent] == ["step-00000030-w1", "step-00000020-w1"]


def test_the_step_never_falls_to_0_while_a_checkpoint_is_loaded(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.train()
    world.reconcile()
    world.progress = world.progress.model_copy(update={"step": 17})
    world.reconcile()
    world.end_pods(137)
    world.reconcile()
    assert world.status.progress.step == 17
    world.until(State.RESTARTING)
    shown = []
    while len(world.created) == 1 or world.status.attempt.running_since is None:
        for happens in (world.finish_preflight, world.collect_garbage, world.start_pods):
            happens()
            world.reconcile()
            shown.append(world.status.progress.step)
        world.wait(10)
    assert shown == sorted(shown, reverse=True), "from what was lost to what is resumed, once"
    assert shown[-1] == 10
    loading = {"attempt": 2, "step": 0, "loss": None, "updated_at": world.now}
    world.progress = world.progress.model_copy(update=loading)
    world.reconcile()
    assert (world.status.progress.step, world.status.progress.percentage) == (10, "10%")
    assert world.status.progress.loss == 0.5


def test_suspended_and_resumed_is_no_restart(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.train()
    world.changes["spec.suspend"] = True
    assert world.reconcile().actions == (DeleteAttempt(attempt=1),)
    assert world.state is State.SUSPENDING
    world.collect_garbage()
    world.reconcile()
    assert condition(world, "Suspended") == ("True", "Suspended")
    assert condition(world, "Running")[0] == "False"
    world.changes["spec.suspend"] = False
    world.until(State.TRAINING)
    assert world.created[-1] == CreateAttempt(attempt=2, resume_from="step-00000010-w1")
    assert (world.status.restarts.total, condition(world, "Suspended")[0]) == (0, "False")


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
    assert condition(world, "Running")[0] == "False"
    world.wait(120)
    assert DeleteAttempt(attempt=1) in world.reconcile().actions


def test_the_deadline_stops_the_pods(new_world: NewWorld) -> None:
    world = new_world({"spec.failurePolicy.deadlineSeconds": 600})
    world.until(State.TRAINING)
    world.wait(601)
    assert DeleteAttempt(attempt=1) in world.reconcile().actions
    assert condition(world, "Succeeded") == ("False", "DeadlineExceeded")


@pytest.mark.parametrize("too_late", [{"spec.suspend": True}, {"spec.failurePolicy.deadlineSeconds": 60}])
def test_what_is_done_is_done(new_world: NewWorld, too_late: dict[str, Any]) -> None:
    world = new_world()
    world.until(State.TRAINING)
    for _ in range(10):
        world.train()
    world.changes.update(too_late)
    world.wait(600)
    world.reconcile()
    assert condition(world, "Succeeded") == ("True", "Completed")


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
