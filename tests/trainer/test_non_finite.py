"""Steps that are not finite: left out, counted, gone back from, given up on; the same whenever a kill comes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    goings_back,
    loss_limit,
    with_steps,
)
from t2i_trainer.step_result import StepResult


def result(step: int, *, skipped: bool = True, finite: bool = False) -> StepResult:
    loss = 0.5 if finite else math.nan
    return StepResult(step=step, loss=loss, gradient_norm=1.0, learning_rate=1e-3, finite=finite, skipped=skipped)


def policy(skipped: int = 2, rollbacks: int = 1) -> NonFinitePolicy:
    return NonFinitePolicy(max_skipped_steps=skipped, max_rollbacks=rollbacks)


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


NOWHERE = "nothing to go back to"


@dataclass
class Machine:
    """The training loop of train.py, in what matters here: weights are the steps that they were made of.

    Results are heard one step late, but for a save, which hears its own step first. Of the saves `retain` are kept.
    """

    bad: frozenset[int]
    bounds: tuple[int, int]
    every: int
    retain: int = 100
    step: int = 0
    weights: tuple[int, ...] = ()
    saved: dict[int, tuple[tuple[int, ...], tuple[SkippedSteps, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Resume the newest checkpoint, as a pod does that was started anew."""
        record: tuple[SkippedSteps, ...] = ()
        self.step, self.weights = max(self.saved, default=0), ()
        if self.saved:
            self.weights, record = self.saved[self.step]
        self.policy = NonFinitePolicy(*self.bounds, record)
        self.wish = self.policy.owed(self.step)
        self.unheard: list[int] = []

    def advance(self) -> str | None:
        """Take a step and do what comes with it; returns why the run ended, if it did."""
        self.step += 1
        self.unheard.append(self.step)
        if self.step not in self.bad:
            self.weights += (self.step,)
        failed = self.hear(1)
        if failed is None and self.wish is not None:
            failed = self.go_back(self.wish)
        if failed is None and self.step % self.every == 0:
            failed = self.hear(0)
            self.saved[self.step] = (self.weights, self.policy.record)
            for old in sorted(self.saved)[: -self.retain]:
                del self.saved[old]
        return failed

    def hear(self, but: int) -> str | None:
        while len(self.unheard) > but:
            step = self.unheard.pop(0)
            decision = self.policy.hear(result(step, skipped=step in self.bad))
            if isinstance(decision, Fail):
                return "failed"
            if isinstance(decision, RollBack):
                self.wish = self.wish or decision
        return None

    def go_back(self, wish: RollBack) -> str | None:
        failed = self.hear(0)
        fitting = (step for step in self.saved if step < self.step and wish.may_load(step, self.saved[step][1]))
        earlier = min(fitting, key=wish.preference, default=None)
        if failed is not None or earlier is None:
            return failed or NOWHERE
        self.weights = self.saved[earlier][0]
        self.policy.rolled_back(earlier, self.step)
        self.wish = None
        return None


Ending = tuple[str | None, int, tuple[int, ...], tuple[SkippedSteps, ...]]


def run(machine: Machine, steps: int, kills: tuple[int, ...] = (), damage: frozenset[int] = frozenset()) -> Ending:
    """Return how a run ends that is killed after so many steps of work, counted over all its lives.

    At the kills that are in `damage` the newest checkpoint is lost, so that the one before is resumed.
    """
    ended, work, left = None, 0, list(kills)
    while ended is None and machine.step < steps:
        ended = machine.advance()
        work += 1
        if left and work == left[0] and ended is None:
            if left.pop(0) in damage:
                machine.saved.pop(max(machine.saved, default=0), None)
            machine.begin()
    return ended, machine.step, machine.weights, machine.policy.record


def holds_what_its_record_says(bad: frozenset[int], weights: tuple[int, ...], record: tuple[SkippedSteps, ...]) -> None:
    assert not bad & set(weights), "no bad step is part of the weights"
    gone = {step for each in goings_back(record) for step in range(each.first, each.last + 1)}
    assert not gone & set(weights), "no step that the run went back from is part of the weights"


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
