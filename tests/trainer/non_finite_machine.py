"""A run without a model: weights are the steps that they hold; it saves, retains, goes back, is killed and resumed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from t2i_trainer.non_finite import (
    Fail,
    NonFinitePolicy,
    RollBack,
    SkippedSteps,
    goings_back,
)
from t2i_trainer.step_result import StepResult


def result(step: int, *, skipped: bool = True, finite: bool = False) -> StepResult:
    loss = 0.5 if finite else math.nan
    return StepResult(step=step, loss=loss, gradient_norm=1.0, learning_rate=1e-3, finite=finite, skipped=skipped)


def policy(skipped: int = 2, rollbacks: int = 1) -> NonFinitePolicy:
    return NonFinitePolicy(max_skipped_steps=skipped, max_rollbacks=rollbacks)


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
