"""What is done about steps that are not finite, or spike: leave them out, then go back, then give up. Pure.

The device leaves such a step out (`step.py`): weights and moments stay, the step's number goes on, so the samples are
consumed and sample position stays a function of the step. Where too many steps in a thousand were left out, the tensors
of the last checkpoint from before them (or the oldest kept) are loaded, and the *count goes on*: everything since that
checkpoint counts as left out, its samples are not seen again, and a resume from any later checkpoint is exact without
knowing of it. The record of what was left out lies in the checkpoint to be counted, told, and to tell saves apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from t2i_api.findings import Finding, FindingName, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_api.job import JobSpec
    from t2i_trainer.step_result import StepResult

WINDOW_STEPS: Final = 1000
# A loss of ten times what a model reaches that answers zero: no working model comes near with any batch.
_SPIKE = 10.0
# A random model may overshoot while Adam's moments settle.
_UNLIMITED_STEPS = 200
MAXIMUM_RECORD: Final = 1000


class Cause(StrEnum):
    """Why steps left no trace in the weights."""

    NON_FINITE = "NonFinite"
    SPIKE = "Spike"
    ROLLED_BACK = "RolledBack"


class SkippedSteps(BaseModel):
    """Steps `first` to `last` left no trace in the weights."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    first: int = Field(ge=1)
    last: int = Field(ge=1)
    cause: Cause


def loss_limit(step: int, spec: JobSpec) -> float:
    """Return the loss above which step `step` (1 is the first) is left out: a function of the step alone.

    E y^2 is 1 for normed latents and unit noise (`sanity/theory.py`), 1 + offsetNoise^2 at most.
    """
    if step <= max(_UNLIMITED_STEPS, spec.training.warmup_steps):
        return math.inf
    return _SPIKE * (1 + spec.diffusion.offset_noise**2)


@dataclass(frozen=True)
class Continue:
    """Go on; `finding` is what to say."""

    finding: Finding | None = None


@dataclass(frozen=True)
class RollBack:
    """Load the newest checkpoint of a step below `before` that holds nothing of `gone`: the goings back so far.

    Where none is kept, the oldest one will do: it holds steps between those that were left out, but none of them.
    """

    before: int
    finding: Finding
    gone: tuple[SkippedSteps, ...] = ()

    def may_load(self, step: int, skipped: Sequence[SkippedSteps]) -> bool:
        """Whether the run's own past is what a checkpoint of `step` holds, whose record then was `skipped`.

        A save of steps that the run went back from later lies in the store like any other; its own record knows
        nothing of that, while a save at the very step of a going back, made after it, has it in its record.
        """
        return tuple(each for each in self.gone if each.first <= step) == goings_back(skipped)

    def preference(self, step: int) -> tuple[bool, int]:
        """What checkpoints sort by, best first: the newest from before `before`, then the oldest of the others."""
        return step >= self.before, abs(step - self.before)

    def shortfall(self, checkpoint_step: int, step: int) -> Finding | None:
        """Return what to say where `checkpoint_step`, to which the run went back at `step`, is no earlier one."""
        if checkpoint_step < self.before:
            return None
        text = (
            f"no checkpoint of a step before {self.before}, the first that was left out, can be loaded any more: the "
            f"run went back to that of step {checkpoint_step}, the oldest, and keeps what it learned until then. Let "
            f"checkpoint.retain times checkpoint.everySteps reach {WINDOW_STEPS} steps back"
        )
        name = FindingName.NO_EARLIER_CHECKPOINT
        return Finding(name=name, severity=Severity.WARNING, step=step, sentence=text)


@dataclass(frozen=True)
class Fail:
    """End the run with NON_FINITE_LOSS."""

    message: str


Decision = Continue | RollBack | Fail
_WAY_OUT = "Lower training.learningRate or raise training.warmupSteps, and look at the samples of those steps"


@dataclass
class NonFinitePolicy:
    """Counts what was left out; `record` goes into every checkpoint and comes back with it."""

    max_skipped_steps: int
    max_rollbacks: int
    record: tuple[SkippedSteps, ...] = field(default=())

    def hear(self, result: StepResult) -> Decision:
        """Decide after a step."""
        if not result.skipped:
            return Continue()
        step = result.step
        cause = Cause.SPIKE if result.finite else Cause.NON_FINITE
        self.record = with_steps(self.record, SkippedSteps(first=step, last=step, cause=cause))
        recent = self._recent(step)
        what = "a spike" if cause is Cause.SPIKE else "not finite"
        told = f"loss {result.loss:.4g}, gradient norm {result.gradient_norm:.4g} ({what})"
        if len(recent) <= self.max_skipped_steps:
            return Continue(_finding(cause, step, told, len(recent), self.max_skipped_steps))
        if self.rollbacks >= self.max_rollbacks:
            return Fail(
                f"step {step}: {told}. {len(recent)} of the last {WINDOW_STEPS} steps were left out and the run went "
                f"back {self.rollbacks} times (failurePolicy.maxSkippedSteps {self.max_skipped_steps}, maxRollbacks "
                f"{self.max_rollbacks}). {_WAY_OUT}"
            )
        return self._roll_back(recent, step, f"{told}, the last")

    def owed(self, step: int) -> RollBack | None:
        """Return the going back that was decided at `step`, the newest, and that a kill kept from being done.

        A save hears its own step: a checkpoint may hold more steps left out than may be, and nothing of the decision.
        """
        recent = self._recent(step)
        if len(recent) <= self.max_skipped_steps:
            return None
        return self._roll_back(recent, step, "decided before the run was stopped")

    def rolled_back(self, checkpoint_step: int, step: int) -> None:
        """Note that the tensors are those of `checkpoint_step` now, while `step` steps are counted."""
        gone = SkippedSteps(first=checkpoint_step + 1, last=step, cause=Cause.ROLLED_BACK)
        self.record = with_steps(self.record, gone)

    @property
    def rollbacks(self) -> int:
        """How often the run went back."""
        return len(goings_back(self.record))

    def _roll_back(self, recent: Sequence[int], step: int, told: str) -> RollBack:
        text = (
            f"{len(recent)} of the last {WINDOW_STEPS} steps were left out ({told}): the run goes back to the "
            f"checkpoint before step {recent[0]}, or the oldest kept, and on with new samples. {_WAY_OUT}"
        )
        finding = Finding(name=FindingName.ROLLED_BACK, severity=Severity.ERROR, step=step, sentence=text)
        return RollBack(recent[0], finding, goings_back(self.record))

    def _recent(self, step: int) -> list[int]:
        """Return the steps left out within the window and since the last return to a checkpoint."""
        since = max((each.last for each in goings_back(self.record)), default=0)
        after = max(since, step - WINDOW_STEPS)
        return [
            number
            for each in self.record
            if each.cause is not Cause.ROLLED_BACK and each.last > after
            for number in range(max(each.first, after + 1), each.last + 1)
        ]


def goings_back(record: Sequence[SkippedSteps]) -> tuple[SkippedSteps, ...]:
    """Return the entries of a record that tell of steps gone back from."""
    return tuple(each for each in record if each.cause is Cause.ROLLED_BACK)


def with_steps(record: Sequence[SkippedSteps], new: SkippedSteps) -> tuple[SkippedSteps, ...]:
    """Return the record with steps added; neighbours of one cause become one entry, the oldest of too many go."""
    last = record[-1] if record else None
    if last is not None and last.cause is new.cause is not Cause.ROLLED_BACK and last.last + 1 == new.first:
        return (*record[:-1], last.model_copy(update={"last": new.last}))
    kept = [*record, new]
    while len(kept) > MAXIMUM_RECORD:
        oldest = next((each for each in kept if each.cause is not Cause.ROLLED_BACK), kept[0])
        kept.remove(oldest)
    return tuple(kept)


def _finding(cause: Cause, step: int, told: str, count: int, most: int) -> Finding:
    name = FindingName.LOSS_SPIKE if cause is Cause.SPIKE else FindingName.NON_FINITE_STEP
    text = f"{told}: the step was left out, {count} of {most} that may be within {WINDOW_STEPS} steps. {_WAY_OUT}"
    return Finding(name=name, severity=Severity.WARNING, step=step, sentence=text)
