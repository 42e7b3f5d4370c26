"""What ends an attempt, whether another one follows, and from which checkpoint."""

from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.status import VerdictKind as V
from t2i_operator.plan import CreateAttempt, StartPreflight

NewWorld = Callable[..., Any]


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
    assert world.condition("CheckpointCompatible") == ("True", "Identical")
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
    assert world.condition("Succeeded") == ("False", "RestartsExhausted")
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
    assert world.condition("Succeeded") == ("False", state)
    assert len(world.created) == 1


def test_incompatible_weights_are_judged_again_but_not_for_ever(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.TRAINING)
    world.end_pods(21)
    assert world.until(State.TRAINING) is State.TRAINING
    world.end_pods(21)
    world.reconcile()
    assert world.condition("Succeeded") == ("False", "IncompatibleCheckpoint")


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
    assert world.condition("Succeeded") == ("False", "IncompatibleCheckpoint")
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
