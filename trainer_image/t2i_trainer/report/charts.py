"""Curves as SVG: linear or logarithmic, with the restarts of a run marked, readable without a script.

leather draws; a scale, dots that say their value, and marks without a legend are what it lacks. No text of others comes
in here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import leather

from t2i_trainer.report.curve import Point

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 960, 300
_CUT = 28  # of leather's margin, a twentieth of the width on all sides
_DECADE = (1, 2, 5, 10)
_DOT_RADIUS = 3
_SMALLEST = 1e-12  # what is smaller counts as nothing: no loss comes near, and leather counts in 28 digits
_LONG = re.compile(r"(\d\.\d)\d+")
_PLACES = {"d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy"}


@dataclass(frozen=True)
class Curve:
    """A line with a name in the legend; `dots` mark its points and say their values."""

    name: str
    colour: str
    points: Sequence[Point]
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line at a step, with what it says when pointed at."""

    step: int
    text: str


def draw(curves: Sequence[Curve], marks: Sequence[Mark] = (), *, last_step: int = 1, logarithmic: bool = False) -> str:
    """Return an <svg> element from step 0 to `last_step` at least; empty where no curve has a point to show."""
    least = 0.0 if logarithmic else -math.inf
    shown = [(curve, [point for point in map(_told, curve.points) if point.value > least]) for curve in curves]
    values = [point.value for _, points in shown for point in points]
    if not values:
        return ""
    chart = leather.Chart()
    for curve, points in shown:
        data = [(point.step, point.value) for point in points]
        if data:
            chart.add_line(data, name=curve.name, stroke_color=curve.colour, width=1.5)
        if data and curve.dots:
            chart.add_series(leather.Series(data), _SpeakingDots(curve.colour, _DOT_RADIUS))
    if marks:
        chart.add_series(leather.Series([(mark.step, values[0]) for mark in marks]), _Marks(marks))
    chart.add_x_scale(
        0, max(last_step, *(point.step for _, points in shown for point in points), *(m.step for m in marks))
    )
    if logarithmic:
        chart.set_y_scale(LogScale(min(values), max(values)))
    else:
        chart.add_y_scale(min(0, *values), max(0, *values) or 1)
    chart.add_x_axis(tick_formatter=lambda value, *_: f"{int(value):,}" if value == int(value) else f"{value:g}")
    chart.add_y_axis(tick_formatter=lambda value, *_: f"{float(value):g}")
    return _standalone(chart)


def _told(point: Point) -> Point:
    return point if abs(point.value) >= _SMALLEST else Point(point.step, 0.0)


def _standalone(chart: Any) -> str:
    root = ET.Element("svg", viewBox=f"{_CUT} {_CUT} {WIDTH - 2 * _CUT} {HEIGHT - 2 * _CUT}")
    root.append(chart.to_svg_group(WIDTH, HEIGHT))
    for element in root.iter():  # leather gives 28 digits
        element.attrib |= {name: _LONG.sub(r"\1", text) for name, text in element.attrib.items() if name in _PLACES}
    return ET.tostring(root, encoding="unicode")


class LogScale(leather.Scale):  # type: ignore[misc]  # leather has no types
    """A logarithmic scale for positive values, from one tick of 1, 2 or 5 times a power of ten to another."""

    def __init__(self, lowest: float, highest: float) -> None:
        self._ticks = log_ticks(lowest, highest)

    def contains(self, value: float) -> bool:
        """Whether a value can be shown."""
        return self._ticks[0] <= value <= self._ticks[-1]

    def project(self, value: float, start: float, end: float) -> float:
        """Return where a value lies between two places."""
        low, high = math.log10(self._ticks[0]), math.log10(self._ticks[-1])
        return start + (end - start) * (math.log10(value) - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return the values that the axis names."""
        return self._ticks


def log_ticks(lowest: float, highest: float) -> list[float]:
    """Return the 1, 2 and 5 times powers of ten around two positive values; whole powers where there are many."""
    first, last = math.floor(math.log10(lowest)), math.floor(math.log10(highest))
    factors = _DECADE if last - first < 3 else (1, 10)  # noqa: PLR2004  # three decades of three ticks fill an axis
    every = sorted({float(f"{factor}e{power}") for power in range(first - 1, last + 1) for factor in factors})
    below = [tick for tick in every if tick <= lowest][-1:] or every[:1]
    above = [tick for tick in every if tick >= highest and tick > below[0]][:1]
    return [*below, *(tick for tick in every if below[0] < tick < above[0]), *above]


class _SpeakingDots(leather.Dots):  # type: ignore[misc]
    """Dots that a pointer makes say step and value; the line that they lie on is in the legend."""

    def to_svg(self, width: Any, height: Any, x_scale: Any, y_scale: Any, series: Any, palette: Any) -> Any:  # noqa: PLR0913, PLR0917  # leather's
        group = super().to_svg(width, height, x_scale, y_scale, series, palette)
        for circle, datum in zip(group, series.data(), strict=True):
            ET.SubElement(circle, "title").text = f"step {datum.x:,.0f}: {datum.y:.4g}"
        return group

    def legend_to_svg(self, *_: Any) -> list[Any]:
        return []


class _Marks(leather.Shape):  # type: ignore[misc]
    """Vertical lines over the whole height."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = marks

    def validate_series(self, series: Any) -> None:
        """Any numbers will do."""

    def to_svg(self, width: Any, height: Any, x_scale: Any, *_: Any) -> Any:
        group = ET.Element("g", {"class": "marks"})
        for mark in self._marks:
            x = str(x_scale.project(mark.step, 0, width))
            line = ET.SubElement(group, "line", x1=x, x2=x, y1="0", y2=str(height), stroke="#888")
            line.set("stroke-dasharray", "3 3")
            ET.SubElement(line, "title").text = mark.text
        return group

    def legend_to_svg(self, *_: Any) -> list[Any]:
        return []
