"""What the sequence of losses must look like: where it begins, and by when it is below what needs no learning. Pure.

Losses are held against what the trivial answer would have scored on the very same samples, so that neither easy nor
hard pictures nor the draw of timesteps look like learning or its absence: only the model's part of the noise is left.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from t2i_api.findings import Finding, FindingName, Severity
from t2i_trainer.sanity.theory import QUARTERS, initial_loss_bounds, learning_deadline, window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2i_trainer.sanity.theory import Levels
    from t2i_trainer.step_result import StepResult

# A healthy run lies far below by the deadline (the tiny ones of docs/planted-faults.md at 0.75 to 0.8 of the level); an
# output that stands still lies at 1.00 or above.
_LEARNT = 0.95
# A quarter of the timesteps is judged with twice the time: little noise is learnt last. What lies above the trivial
# answer must do so clearly, and by six standard errors of the run's own differences: a long run is judged thousands of
# times, on means of no more than 20 steps.
_WORSE_THAN_TRIVIAL = 1.05
_QUARTER_PATIENCE = 2
_SURE = 6.0
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
class _Window:
    """Pairs of the last steps: the loss, and what an answer of zero scores on the same samples."""

    steps: int
    _pairs: deque[tuple[float, float]] = field(init=False)

    def __post_init__(self) -> None:
        self._pairs = deque(maxlen=self.steps)

    def add(self, loss: float | None, power: float | None) -> None:
        if loss is not None and power is not None and math.isfinite(loss) and math.isfinite(power):
            self._pairs.append((loss, power))

    @property
    def is_full(self) -> bool:
        return len(self._pairs) == self.steps

    def means(self) -> tuple[float, float, float]:
        """Return mean loss and power, and the standard error of the difference of the two."""
        loss, power = (math.fsum(each) / self.steps for each in zip(*self._pairs, strict=True))
        squares = math.fsum((a - b - (loss - power)) ** 2 for a, b in self._pairs)
        return loss, power, math.sqrt(squares / max(self.steps - 1, 1) / self.steps)


@dataclass
class LearningCheck:
    """Judges the mean of the last losses once the deadline has passed; says each thing once."""

    levels: Levels
    deadline: int | None
    window: int
    _whole: _Window = field(init=False)
    _quarters: tuple[_Window, ...] = field(init=False)
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._whole = _Window(self.window)
        self._quarters = tuple(_Window(self.window) for _ in range(QUARTERS))

    @classmethod
    def of_run(cls, levels: Levels, rates: Iterable[float], out_features: int, global_batch_size: int) -> LearningCheck:
        """Derive the deadline from the learning rates of the run's steps, in order."""
        first = tuple(islice(rates, _MOST_RATES))
        return cls(levels, learning_deadline(first, out_features, levels.mean_trivial), window(global_batch_size))

    @property
    def judged_from(self) -> int | None:
        """The first step that is judged."""
        return None if self.deadline is None else self.deadline + self.window

    def observe(self, result: StepResult) -> list[Finding]:
        """Take in a step; returns what is to be said of it."""
        self._whole.add(result.loss, result.target_power)
        for held, loss, power in zip(self._quarters, result.quartile_losses, result.quartile_powers, strict=True):
            held.add(loss, power)
        due = self.judged_from
        # Each window once: means of overlapping ones would only repeat each other.
        if due is None or result.step < due or (result.step - due) % self.window or not self._whole.is_full:
            return []
        found = self._judge_whole(result.step)
        if FindingName.TRIVIAL_ANSWER in self._said or result.step < _QUARTER_PATIENCE * due:
            return found
        return self._judge_quarters(result.step)

    def _judge_whole(self, step: int) -> list[Finding]:
        mean, power, _ = self._whole.means()
        level = power - self.levels.of_mean_picture()
        if mean < _LEARNT * level or not self._once(FindingName.TRIVIAL_ANSWER):
            return []
        text = (
            f"the loss of the last {self.window} steps is {mean:.4f}; a model that never looks at its input scores "
            f"{level:.4f} on the same samples, and by step {self.deadline} a working one is below: nothing is learnt. "
            "Look for an output that cannot move, a learning rate far too small, noise and target that do not belong "
            "together, or latents that are noise themselves"
        )
        return [Finding(name=FindingName.TRIVIAL_ANSWER, severity=Severity.ERROR, step=step, sentence=text)]

    def _judge_quarters(self, step: int) -> list[Finding]:
        found = []
        for index, held in enumerate(self._quarters):
            if not held.is_full:
                continue
            mean, power, error = held.means()
            level = power - self.levels.of_mean_picture(index)
            worse = mean > _WORSE_THAN_TRIVIAL * level + _SURE * error
            if not worse or not self._once(f"{FindingName.QUARTILE_STUCK}{index}"):
                continue
            text = (
                f"in quarter {index + 1} of {QUARTERS} of the timesteps (1: least noise) the loss is {mean:.4f}; a "
                f"model that never looks at its input scores {level:.4f} on the same samples: for these timesteps "
                "noise and target do not belong together, or they are hardly learnt from. Look at how timesteps reach "
                "the noise, the UNet, the target and the weights of the loss"
            )
            found.append(Finding(name=FindingName.QUARTILE_STUCK, severity=Severity.WARNING, step=step, sentence=text))
        return found

    def _once(self, key: str) -> bool:
        fresh = key not in self._said
        self._said.add(key)
        return fresh
