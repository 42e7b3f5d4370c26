"""What the sequence of losses must look like: where it begins, and by when it is below what needs no learning. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from t2i_api.findings import Finding, FindingName, Severity
from t2i_trainer.sanity.theory import QUARTERS, initial_loss_bounds, learning_deadline, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from t2i_trainer.sanity.theory import Levels

# A healthy run lies far below by the deadline (the tiny ones of docs/planted-faults.md at 0.75 to 0.8 of the level); an
# output that stands still lies at 1.00 or above, known to 0.02.
_LEARNT = 0.95
# A quarter of the timesteps is judged on a quarter of the samples, and with twice the time: little noise is learnt
# last.
_WORSE_THAN_TRIVIAL = 1.05
_QUARTER_PATIENCE = 2
_MOST_RATES = 100_000


def judge_first_loss(loss: float, target_power: float, out_channels: int, step: int) -> list[Finding]:
    """Say where the first loss of a random UNet is not what its initialisation gives."""
    low, high = initial_loss_bounds(target_power, out_channels)
    if not math.isfinite(loss) or low <= loss <= high:
        return []
    cause = (
        "the target leaks into the input, or the loss is scaled down"
        if loss < low
        else "the output layer is initialised too large, or the loss is summed or weighted where it should be a mean"
    )
    text = (
        f"the first loss is {loss:.4g}; a random UNet of {out_channels} channels gives {low:.3g} to {high:.3g} (target "
        f"{target_power:.3g} plus the power of its output): {cause}"
    )
    return [Finding(name=FindingName.INITIAL_LOSS, severity=Severity.WARNING, step=step, sentence=text)]


@dataclass
class LearningCheck:
    """Judges the mean of the last losses once the deadline has passed; says each thing once."""

    levels: Levels
    deadline: int | None
    window: int
    _losses: deque[float] = field(init=False)
    _quarters: tuple[deque[float], ...] = field(init=False)
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._losses = deque(maxlen=self.window)
        self._quarters = tuple(deque(maxlen=self.window) for _ in range(QUARTERS))

    @classmethod
    def of_run(cls, levels: Levels, rates: Iterable[float], out_features: int, global_batch_size: int) -> LearningCheck:
        """Derive the deadline from the learning rates of the run's steps, in order."""
        first = tuple(islice(rates, _MOST_RATES))
        return cls(levels, learning_deadline(first, out_features, levels.mean_trivial), window(global_batch_size))

    @property
    def judged_from(self) -> int | None:
        """The first step that is judged."""
        return None if self.deadline is None else self.deadline + self.window

    def observe(self, step: int, loss: float, quarters: Sequence[float | None]) -> list[Finding]:
        """Take in a step; returns what is to be said of it."""
        if not math.isfinite(loss):
            return []
        self._losses.append(loss)
        for held, each in zip(self._quarters, quarters, strict=False):
            if each is not None and math.isfinite(each):
                held.append(each)
        due = self.judged_from
        if due is None or step < due or len(self._losses) < self.window:
            return []
        found = self._whole(step)
        if FindingName.TRIVIAL_ANSWER in self._said or step < _QUARTER_PATIENCE * due:
            return found
        return self._by_quarter(step)

    def _whole(self, step: int) -> list[Finding]:
        mean, level = sum(self._losses) / len(self._losses), self.levels.mean_trivial
        if mean < _LEARNT * level or not self._once(FindingName.TRIVIAL_ANSWER):
            return []
        text = (
            f"the loss of the last {self.window} steps is {mean:.4f}; a model that never looks at its input reaches "
            f"{level:.4f}, and by step {self.deadline} a working one is below: nothing is learnt. Look for an output "
            "that cannot move, a learning rate far too small, or noise and target that do not belong together"
        )
        return [Finding(name=FindingName.TRIVIAL_ANSWER, severity=Severity.ERROR, step=step, sentence=text)]

    def _by_quarter(self, step: int) -> list[Finding]:
        found = []
        for index, held in enumerate(self._quarters):
            if len(held) < self.window:
                continue
            mean, level = sum(held) / len(held), self.levels.quarter(index)
            if mean <= _WORSE_THAN_TRIVIAL * level or not self._once(f"{FindingName.QUARTILE_STUCK}{index}"):
                continue
            text = (
                f"in quarter {index + 1} of {QUARTERS} of the timesteps (1: least noise) the loss is {mean:.4f}, worse "
                f"than the {level:.4f} of a model that never looks at its input: for these timesteps noise and target "
                "do not belong together. Look at how timesteps reach the noise, the UNet and the target"
            )
            found.append(Finding(name=FindingName.QUARTILE_STUCK, severity=Severity.WARNING, step=step, sentence=text))
        return found

    def _once(self, key: str) -> bool:
        fresh = key not in self._said
        self._said.add(key)
        return fresh
