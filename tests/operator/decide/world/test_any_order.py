"""Whatever happens in whatever order, with the operator killed between any two steps: safe always, done in the end."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_api.conditions import State
from t2i_api.status import JobStatus
from t2i_api.status import VerdictKind as V
from t2i_operator.decide import decide

NewWorld = Callable[..., Any]


def everybody_does_what_they_should(world: Any) -> None:
    """Go on as on a good day: without it, chance would hardly ever reach an attempt that trains."""
    for happens in (world.finish_preflight, world.finish_archive, world.collect_garbage, world.start_pods):
        world.reconcile()
        happens()


HAPPENINGS: dict[str, Callable[[Any], object]] = {
    "a good day": everybody_does_what_they_should,
    "another good day": everybody_does_what_they_should,
    "a third good day": everybody_does_what_they_should,
    "reconcile": lambda w: w.reconcile(),
    "reconcile again": lambda w: w.reconcile(),
    "killed before the status write": lambda w: w.reconcile(killed_after=0),
    "killed after the status write": lambda w: w.reconcile(killed_after=1),
    "killed after the first action": lambda w: w.reconcile(killed_after=2),
    "killed after the second action": lambda w: w.reconcile(killed_after=3),
    "operator restarts": lambda w: w.forget(),
    "preflight answers": lambda w: w.finish_preflight(),
    "archive records its intent": lambda w: w.record_intent(),
    "archive is done": lambda w: w.finish_archive(),
    "archive fails": lambda w: w.fail_archive(),
    "pods start": lambda w: w.start_pods(),
    "ten steps": lambda w: w.train(),
    "pod killed": lambda w: w.end_pods(137),
    "pod preempted": lambda w: w.end_pods(143, disrupted=True),
    "interrupted": lambda w: w.end_pods(28, 28),
    "garbage collected": lambda w: w.collect_garbage(),
    "Job gone before its pods": lambda w: w.job_goes_first(),
    "Job deleted by hand": lambda w: w.delete_the_job_by_hand(),
    "suspended": lambda w: w.changes.update({"spec.suspend": True}),
    "resumed": lambda w: w.changes.update({"spec.suspend": False}),
    "store down": lambda w: setattr(w, "store_down", True),
    "store up": lambda w: setattr(w, "store_down", False),
    "foreign checkpoint appears": lambda w: w.bucket.setdefault(w.step + 5, V.FOREIGN),
    "unreadable checkpoint appears": lambda w: w.bucket.setdefault(w.step + 6, V.UNREADABLE),
    "partial checkpoint appears": lambda w: w.bucket.setdefault(w.step + 8, V.PARTIAL),
    "another program's weights appear": lambda w: w.bucket.setdefault(w.step + 9, V.INFERENCE_ONLY),
    "incomplete checkpoint appears": lambda w: w.bucket.setdefault(w.step + 7, V.INCOMPLETE),
    "half a minute": lambda w: w.wait(30),
    "an hour": lambda w: w.wait(3600),
}
HISTORIES = st.lists(st.sampled_from(sorted(HAPPENINGS)), max_size=40)
STARTS = st.dictionaries(
    st.integers(1, 9), st.sampled_from([kind for kind in V if kind is not V.IDENTICAL]), max_size=3
)
PATIENT = {"spec.failurePolicy.maxRestarts": 60, "spec.failurePolicy.stallSeconds": 86400}
UNFIT = {V.FOREIGN, V.PARTIAL}
BLOCKING = {V.UNREADABLE, V.ADAPTER}
POLICIES = st.fixed_dictionaries(
    {"spec.checkpoint.onIncompatible": st.sampled_from(["Archive", "WarmStart"])},
    optional={"spec.model.initialWeights": st.just({"uri": "s3://t2i/other"})},
)


def live(world: Any, history: list[str]) -> None:
    """Let it happen; safety is asserted wherever the world carries out an action."""
    for happening in history:
        HAPPENINGS[happening](world)
        assert len(world.alive()) <= 1
        assert set(world.archived.values()) <= UNFIT
        world.wait(1)


@settings(max_examples=200, deadline=None)
@given(STARTS, POLICIES, HISTORIES)
def test_every_history_ends_in_a_trained_model(
    new_world: NewWorld, start: dict[int, V], policy: dict[str, Any], history: list[str]
) -> None:
    world = new_world(PATIENT | policy, start)
    world.elsewhere = {7: V.RENAMED}
    live(world, history)
    world.changes["spec.suspend"] = False
    world.store_down = False
    world.bucket = {step: kind for step, kind in world.bucket.items() if kind not in BLOCKING}
    assert world.until(State.COMPLETED) is State.COMPLETED
    assert world.status.condition("Succeeded").status == "True"


@settings(max_examples=200, deadline=None)
@given(STARTS, POLICIES, HISTORIES)
def test_deciding_again_settles_and_says_nothing_twice(
    new_world: NewWorld, start: dict[int, V], policy: dict[str, Any], history: list[str]
) -> None:
    world = new_world(PATIENT | policy, start)
    live(world, history)
    seen: list[JobStatus | None] = []
    events: list[tuple[str, str]] = []
    for _ in range(6):
        plan = decide(world.observe())
        seen.append(plan.status)
        events += [(event.reason, event.message) for event in plan.events]
        world.status = plan.status
    assert seen[-1] == seen[-2], "the same facts lead to another status each time"
    assert len(set(events)) == len(events), "an event is said twice of the same facts"


@settings(max_examples=100, deadline=None)
@given(STARTS, POLICIES, HISTORIES)
def test_only_what_does_not_fit_ever_leaves_its_place(
    new_world: NewWorld, start: dict[int, V], policy: dict[str, Any], history: list[str]
) -> None:
    world = new_world(PATIENT | policy, start)
    leaves = {V.FOREIGN} if policy["spec.checkpoint.onIncompatible"] == "WarmStart" else UNFIT
    kept = {step for step, kind in start.items() if kind not in leaves}
    live(world, history)
    assert kept <= world.bucket.keys()


@pytest.mark.parametrize("killed_after", range(4))
@pytest.mark.parametrize("turn", range(12))
def test_a_kill_at_any_step_of_the_story_changes_nothing_about_its_end(
    new_world: NewWorld, turn: int, killed_after: int
) -> None:
    world = new_world(PATIENT, {5: V.FOREIGN})
    for at in range(12):
        world.reconcile(killed_after=killed_after if at == turn else None)
        for happens in (world.record_intent, world.finish_preflight, world.finish_archive, world.start_pods):
            happens()
        world.wait(1)
    assert world.until(State.COMPLETED) is State.COMPLETED
    assert world.archived == {5: V.FOREIGN}
    assert world.status.archive.checkpoints == 1
    assert world.status.archive.completed_at is not None
    assert world.created[0].resume_from is None
