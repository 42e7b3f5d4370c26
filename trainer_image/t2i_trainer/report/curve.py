"""A curve of any length as few points as a screen shows, and its smoothed course. Pure."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SMOOTHING = 0.98  # as lossSmoothed of the progress document


@dataclass(frozen=True)
class Point:
    """A place on a curve."""

    step: float
    value: float


def thinned(steps: Sequence[int], values: Sequence[float], most: int) -> tuple[Point, ...]:
    """Return at most `most` points: means of equally many neighbours. What is not finite is left out."""
    size = max(1, math.ceil(len(steps) / most))
    points = []
    for start in range(0, len(steps), size):
        there = [
            (step, value)
            for step, value in zip(steps[start : start + size], values[start : start + size], strict=True)
            if math.isfinite(value)
        ]
        if there:
            points.append(Point(sum(step for step, _ in there) / len(there), sum(v for _, v in there) / len(there)))
    return tuple(points)


def smoothed(values: Sequence[float], keep: float = SMOOTHING) -> array[float]:
    """Return the running average, each of which keeps `keep` of the one before; what is not finite changes nothing."""
    average = math.nan
    course = array("d")
    for value in values:
        if math.isfinite(value):
            average = value if math.isnan(average) else keep * average + (1 - keep) * value
        course.append(average)
    return course


def last_finite(values: Sequence[float]) -> float | None:
    """Return the newest value that is finite, or None."""
    return next((value for value in reversed(values) if math.isfinite(value)), None)
