"""What a whole run holds after bad steps, goings back and kills at any moment is what its record says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trainer.non_finite_machine import NOWHERE, Machine, holds_what_its_record_says, run

from t2i_trainer.non_finite import (
    goings_back,
)


def test_a_second_going_back_never_loads_what_the_first_went_back_from() -> None:
    """The save of step 10 holds 6 to 9, which the run left at step 11; at 13 it is the newest of a step before 12."""
    machine = Machine(frozenset({10, 12}), (0, 2), every=5)
    ended, _, weights, record = run(machine, 14)
    assert ended is None
    assert [(each.first, each.last) for each in goings_back(record)] == [(6, 11), (6, 13)]
    holds_what_its_record_says(machine.bad, weights, record)


def test_a_save_at_the_step_of_a_going_back_was_made_after_it() -> None:
    """Bad step 9 is heard at 10, which is saved with the weights of step 5: as good as any."""
    machine = Machine(frozenset({9, 12}), (0, 2), every=5)
    ended, _, weights, record = run(machine, 14)
    assert ended is None
    assert [(each.first, each.last) for each in goings_back(record)] == [(6, 10), (11, 13)]
    holds_what_its_record_says(machine.bad, weights, record)


def test_where_nothing_from_before_is_kept_the_oldest_save_is_gone_back_to() -> None:
    """Two saves, 10 steps, are kept of a run that has a bad step every 9: before the third, none from before 3 is."""
    machine = Machine(frozenset({3, 12, 21}), (2, 1), every=5, retain=2)
    ended, _, weights, record = run(machine, 25)
    assert ended is None
    assert [(each.first, each.last) for each in goings_back(record)] == [(16, 22)]
    holds_what_its_record_says(machine.bad, weights, record)


def test_going_back_to_what_is_kept_is_counted_and_ends() -> None:
    """From step 7 on all is bad, and the only save kept is younger than that."""
    machine = Machine(frozenset(range(7, 100)), (3, 2), every=2, retain=1)
    ended, step, weights, record = run(machine, 99)
    assert (ended, step) == ("failed", 20)
    assert [(each.first, each.last) for each in goings_back(record)] == [(11, 11), (15, 16)]
    assert weights == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("bad", [{7}, {9}, {10}, {5, 10}, {9, 10}, {10, 11}, {13, 14, 15}, {6, 12, 17}])
def test_a_kill_at_every_moment_changes_nothing(bad: set[int]) -> None:
    """A bad step before, at and after a save (every 5 steps), and a kill after each of the steps."""
    for bounds, retain in itertools.product(((0, 1), (0, 3), (1, 2)), (1, 2, 100)):
        calm = run(Machine(frozenset(bad), bounds, 5, retain), 25)
        for moment in range(1, 40):
            assert run(Machine(frozenset(bad), bounds, 5, retain), 25, (moment,)) == calm, (bounds, retain, moment)


@settings(deadline=None, max_examples=300)
@given(
    st.frozensets(st.integers(1, 40), max_size=12),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.integers(1, 9),
    st.integers(1, 5),
    st.lists(st.integers(1, 60), max_size=4),
)
def test_no_kills_at_any_moments_change_anything(
    bad: frozenset[int], bounds: tuple[int, int], every: int, retain: int, kills: list[int]
) -> None:
    undisturbed = Machine(bad, bounds, every, retain)
    calm = run(undisturbed, 40)
    assert run(Machine(bad, bounds, every, retain), 40, tuple(sorted(set(kills)))) == calm
    ended, _, weights, record = calm
    assert ended != NOWHERE or not undisturbed.saved, "whatever is kept is better than the end"
    holds_what_its_record_says(bad, weights, record)
    assert len(goings_back(record)) <= bounds[1]


@settings(deadline=None, max_examples=300)
@given(
    st.frozensets(st.integers(1, 40), max_size=12),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.integers(1, 9),
    st.integers(1, 5),
    st.frozensets(st.tuples(st.integers(1, 60), st.booleans()), max_size=4),
)
def test_whichever_checkpoint_is_resumed_weights_hold_what_their_record_says(
    bad: frozenset[int], bounds: tuple[int, int], every: int, retain: int, kills: frozenset[tuple[int, bool]]
) -> None:
    """A resume may land on steps that the run went back from, above all where newer checkpoints are damaged."""
    damage = frozenset(moment for moment, damages in kills if damages)
    machine = Machine(bad, bounds, every, retain)
    ended, _, weights, record = run(machine, 40, tuple(sorted({moment for moment, _ in kills})), damage)
    holds_what_its_record_says(bad, weights, record)
    assert len(goings_back(record)) <= bounds[1]
    assert ended != NOWHERE or not machine.saved
