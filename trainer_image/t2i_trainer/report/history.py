"""`metrics.jsonl` read back as the story of a run: curves, attempts, evaluations, findings. Pure.

The file lies in a bucket that others can write to: a line that does not hold is left out, and text is cut to a bound.
"""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from t2i_api.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QUARTERS = 4
MAXIMUM_FINDINGS = 500  # of which a person reads the first ten
_MAXIMUM_TEXT = 500
_NOTHING = math.nan
_LARGEST = 1e12  # no loss and no speed is larger, and no axis need show it


@dataclass(frozen=True)
class Evaluation:
    """Mean losses of the fixed grid with the right caption, another picture's and none."""

    step: int
    right: float
    wrong: float
    null: float


@dataclass(frozen=True)
class Beginning:
    """What an attempt began with: `verdict` is empty where there was nothing to judge, `place` with random weights."""

    place: str = ""
    verdict: str = ""
    target_steps: int | None = None
    images_a_step: int | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Attempt:
    """The steps of one attempt that are part of the run; those of its end that no checkpoint kept are not."""

    number: int
    first_step: int
    last_step: int
    beginning: Beginning | None


@dataclass(frozen=True)
class Newer:
    """Every row after a step, which the bucket may not hold yet; what it holds beyond that step was lost in a kill."""

    after_step: int
    lines: tuple[bytes, ...]


@dataclass
class History:
    """A run's steps in order; every array has one entry a step, NaN where nothing finite was measured."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    losses: array[float] = field(default_factory=lambda: array("d"))
    speeds: array[float] = field(default_factory=lambda: array("d"))
    learning_rates: array[float] = field(default_factory=lambda: array("d"))
    quarters: tuple[array[float], ...] = field(default_factory=lambda: tuple(array("d") for _ in range(QUARTERS)))
    attempts: list[Attempt] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    findings_left_out: int = 0

    @property
    def last_step(self) -> int:
        """The newest step; 0 before the first."""
        return self.steps[-1] if self.steps else 0

    @property
    def began_at(self) -> datetime | None:
        """When the attempt of the run's first step began; what lies in the bucket from before is an earlier run's."""
        first = self.attempts[0] if self.attempts else None
        return first.beginning.at if first is not None and first.first_step == 1 and first.beginning else None

    @property
    def beginning(self) -> Beginning | None:
        """What the newest attempt said of itself at its first step."""
        return next((each.beginning for each in reversed(self.attempts) if each.beginning is not None), None)


def read_history(stored: Iterable[bytes], newer: Newer | None = None) -> History:
    """Return what the lines tell; of lines that step back or cannot be read nothing is taken."""
    history = History()
    for line in stored:
        if (row := _row(line)) is not None:
            step, content = row
            if newer is not None and step > newer.after_step:
                break
            _take(history, step, content)
    for line in () if newer is None else newer.lines:
        if (row := _row(line)) is not None:
            _take(history, *row)
    return history


def _take(history: History, step: int, row: Mapping[str, Any]) -> None:
    if step <= history.last_step:
        return
    history.steps.append(step)
    history.losses.append(_number(row.get("loss")))
    history.speeds.append(_number(row.get("imagesPerSecond")))
    history.learning_rates.append(_number(row.get("learningRate")))
    given = row.get("quartiles")
    values = given if isinstance(given, list) and len(given) == QUARTERS else [None] * QUARTERS
    for curve, value in zip(history.quarters, values, strict=True):
        curve.append(_number(value))
    _take_attempt(history, step, _count(row.get("attempt")) or 1, _beginning(row.get("beginning")))
    evaluation = row.get("evaluation")
    if isinstance(evaluation, dict):
        losses = [_number(evaluation.get(caption)) for caption in ("right", "wrong", "null")]
        if all(math.isfinite(loss) for loss in losses):
            history.evaluations.append(Evaluation(step, *losses))
    found = row.get("findings")
    for each in found if isinstance(found, list) else ():
        _take_finding(history, each)


def _take_attempt(history: History, step: int, number: int, beginning: Beginning | None) -> None:
    last = history.attempts[-1] if history.attempts else None
    if last is not None and last.number == number:
        history.attempts[-1] = Attempt(number, last.first_step, step, last.beginning)
    else:
        history.attempts.append(Attempt(number, step, step, beginning))


def _take_finding(history: History, given: object) -> None:
    try:
        finding = Finding.model_validate(given)
    except ValidationError:
        return
    if len(history.findings) < MAXIMUM_FINDINGS:
        history.findings.append(finding)
    else:
        history.findings_left_out += 1


def _beginning(given: object) -> Beginning | None:
    if not isinstance(given, dict):
        return None
    return Beginning(
        place=str(given.get("place", ""))[:_MAXIMUM_TEXT],
        verdict=str(given.get("verdict", ""))[:_MAXIMUM_TEXT],
        target_steps=_count(given.get("targetSteps")),
        images_a_step=_count(given.get("imagesAStep")),
        at=_time(given.get("at")),
    )


def _row(line: bytes) -> tuple[int, dict[str, Any]] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # also UnicodeDecodeError
        return None
    step = _count(row.get("step")) if isinstance(row, dict) else None
    return None if step is None else (step, row)


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None


def _count(value: object) -> int | None:
    """Return a count that an array of 64-bit numbers holds."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**62 else None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _NOTHING
    try:
        number = float(value)
    except OverflowError:
        return _NOTHING
    return number if abs(number) <= _LARGEST else _NOTHING
