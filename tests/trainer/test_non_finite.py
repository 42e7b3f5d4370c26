"""Steps that are not finite: left out, counted, gone back from, given up on; the same whenever a kill comes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trainer.non_finite_machine import policy, result

from t2i_api.findings import FindingName, Severity
from t2i_api.job import JobSpec
from t2i_trainer.non_finite import (
    MAXIMUM_RECORD,
    WINDOW_STEPS,
    Cause,
    Continue,
    Decision,
    Fail,
    NonFinitePolicy,
    RollBack,
    SkippedSteps,
    loss_limit,
    with_steps,
)


def hear(heard: NonFinitePolicy, *steps: int) -> Decision:
    decisions = [heard.hear(result(step)) for step in steps]
    return decisions[-1]


@pytest.mark.parametrize(
    ("step", "warmup", "offset", "limit"),
    [
        (1, 0, 0.0, math.inf),
        (200, 0, 0.0, math.inf),
        (201, 0, 0.0, 10.0),
        (500, 500, 0.0, math.inf),
        (501, 500, 0.0, 10.0),
        (501, 0, 0.5, 12.5),
    ],
)
def test_a_spike_is_ten_times_the_trivial_answer_once_the_run_has_settled(
    job_spec: JobSpec, step: int, warmup: int, offset: float, limit: float
) -> None:
    document = job_spec.to_wire()
    document["training"] |= {"steps": 1000, "warmupSteps": warmup}
    document["diffusion"] = {"offsetNoise": offset}
    assert loss_limit(step, JobSpec.model_validate(document)) == limit


def test_a_step_that_counts_is_no_matter() -> None:
    heard = policy()
    assert heard.hear(result(5, skipped=False, finite=True)) == Continue()
    assert heard.record == ()


@pytest.mark.parametrize(
    ("finite", "cause", "name"),
    [
        (False, Cause.NON_FINITE, FindingName.NON_FINITE_STEP),
        (True, Cause.SPIKE, FindingName.LOSS_SPIKE),
    ],
)
def test_a_step_left_out_is_a_warning_that_names_step_and_way_out(
    *, finite: bool, cause: Cause, name: FindingName
) -> None:
    heard = policy()
    decision = heard.hear(result(5, finite=finite))
    assert isinstance(decision, Continue)
    assert decision.finding is not None
    assert (decision.finding.name, decision.finding.severity, decision.finding.step) == (name, Severity.WARNING, 5)
    assert "1 of 2" in decision.finding.sentence
    assert "learningRate" in decision.finding.sentence
    assert heard.record == (SkippedSteps(first=5, last=5, cause=cause),)


def test_too_many_go_back_to_before_the_first_of_them() -> None:
    heard = policy(skipped=2)
    decision = hear(heard, 5, 9, 10)
    assert isinstance(decision, RollBack)
    assert decision.before == 5
    assert (decision.finding.name, decision.finding.severity) == (FindingName.ROLLED_BACK, Severity.ERROR)
    heard.rolled_back(3, 11)
    assert heard.rollbacks == 1
    assert heard.record[-1] == SkippedSteps(first=4, last=11, cause=Cause.ROLLED_BACK)


def test_what_lies_before_a_going_back_counts_no_more() -> None:
    heard = policy(skipped=2, rollbacks=5)
    hear(heard, 5, 9, 10)
    heard.rolled_back(3, 11)
    assert isinstance(hear(heard, 12, 13), Continue)
    decision = hear(heard, 14)
    assert isinstance(decision, RollBack)
    assert decision.before == 12, "never to a checkpoint from before the last going back's own steps"


def test_what_lies_before_the_window_counts_no_more() -> None:
    heard = policy(skipped=1)
    assert isinstance(hear(heard, 5, 5 + WINDOW_STEPS), Continue)
    assert isinstance(hear(heard, 6 + WINDOW_STEPS), RollBack)


def test_going_back_too_often_ends_the_run_with_every_bound_named() -> None:
    heard = policy(skipped=0, rollbacks=1)
    hear(heard, 5)
    heard.rolled_back(3, 6)
    decision = hear(heard, 8)
    assert isinstance(decision, Fail)
    for words in ("step 8", "maxSkippedSteps 0", "maxRollbacks 1", "went back 1 times"):
        assert words in decision.message


def test_neighbours_of_one_cause_are_one_entry() -> None:
    record: tuple[SkippedSteps, ...] = ()
    for step, cause in ((5, Cause.SPIKE), (6, Cause.SPIKE), (7, Cause.NON_FINITE), (9, Cause.NON_FINITE)):
        record = with_steps(record, SkippedSteps(first=step, last=step, cause=cause))
    assert [(each.first, each.last) for each in record] == [(5, 6), (7, 7), (9, 9)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(Cause)), max_size=40), st.integers(0, 3))
def test_a_full_record_forgets_steps_before_it_forgets_goings_back(gaps: list[tuple[int, Cause]], goings: int) -> None:
    record = tuple(SkippedSteps(first=step, last=step, cause=Cause.ROLLED_BACK) for step in range(1, goings + 1))
    record += tuple(SkippedSteps(first=step, last=step, cause=Cause.SPIKE) for step in range(10, 3 * MAXIMUM_RECORD, 3))
    step = 4 * MAXIMUM_RECORD
    added = 0
    for gap, cause in gaps:
        step += gap
        record = with_steps(record, SkippedSteps(first=step, last=step, cause=cause))
        added += cause is Cause.ROLLED_BACK
    assert len(record) <= MAXIMUM_RECORD + (0 if gaps else len(record))
    assert sum(each.cause is Cause.ROLLED_BACK for each in record) == goings + added


@pytest.mark.parametrize(
    ("kept", "best_first"),
    [
        ([], []),
        ([5, 10, 15, 20], [10, 5, 15, 20]),
        ([12, 15, 20], [12, 15, 20]),  # the step itself was left out, and the save at it came after
        ([5, 10], [10, 5]),
    ],
)
def test_the_newest_from_before_is_best_and_then_the_oldest(kept: list[int], best_first: list[int]) -> None:
    wish = hear(policy(skipped=0), 12)
    assert isinstance(wish, RollBack)
    assert sorted(kept, key=wish.preference) == best_first


def test_a_checkpoint_that_is_no_earlier_one_is_a_warning_with_the_way_out() -> None:
    wish = hear(policy(skipped=0), 12)
    assert isinstance(wish, RollBack)
    assert wish.shortfall(11, 20) is None
    finding = wish.shortfall(15, 20)
    assert finding is not None
    assert (finding.name, finding.severity, finding.step) == (FindingName.NO_EARLIER_CHECKPOINT, Severity.WARNING, 20)
    for words in ("before 12", "of step 15", "checkpoint.retain", "checkpoint.everySteps"):
        assert words in finding.sentence


@pytest.mark.parametrize(
    ("step", "skipped", "may"),
    [
        (5, (), True),  # from before the step that was gone back to
        (10, (), False),  # one of the steps that were gone back from
        (11, (), False),  # another history's: it never went back
        (11, ((6, 11, Cause.ROLLED_BACK),), True),  # saved right after the going back
        (15, ((6, 11, Cause.ROLLED_BACK),), True),
        (15, ((10, 10, Cause.SPIKE), (6, 11, Cause.ROLLED_BACK), (13, 13, Cause.SPIKE)), True),
        (15, (), False),
        (15, ((6, 12, Cause.ROLLED_BACK),), False),  # another history's, that went back elsewhere
        (4, ((2, 4, Cause.ROLLED_BACK),), False),
    ],
)
def test_only_the_runs_own_past_may_be_loaded(
    step: int, skipped: tuple[tuple[int, int, Cause], ...], *, may: bool
) -> None:
    heard = policy(skipped=0, rollbacks=2)
    hear(heard, 10)
    heard.rolled_back(5, 11)
    wish = hear(heard, 17)
    assert isinstance(wish, RollBack)
    record = tuple(SkippedSteps(first=first, last=last, cause=cause) for first, last, cause in skipped)
    assert wish.may_load(step, record) is may
