"""Draws panels with a time axis, and the one with a step axis."""

import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from t2i_dev.dashboards.answers import Answer, Answers
from t2i_dev.dashboards.preview.paper import FAINT, TEXT, Paper, colour
from t2i_dev.dashboards.preview.styles import properties, series_colour
from t2i_dev.dashboards.preview.units import spelled
from t2i_dev.dashboards.reading import Shown

Points = tuple[list[float], list[float]]
_MARGINS = (1.3, 1.15, 0.35, 1.7)


def draw_curves(paper: Paper, panel: Shown, answers: Answers) -> None:
    """Draw values over time with the marks of the dashboard."""
    axes = paper.axes(panel, _MARGINS)
    named = {name: _points(samples) for name, samples in _samples(answers.panels[panel.number])}
    right = _right(axes, panel, named)
    stacking = panel.defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
    if stacking:
        _stack(axes, panel, named, answers)
    else:
        for place, (name, (times, values)) in enumerate(named.items()):
            options = properties(panel, name)
            drawn = right if right is not None and options.get("custom.axisPlacement") == "right" else axes
            points = "." if options.get("custom.showPoints") == "always" else ""
            width = 0.7 * float(options.get("custom.lineWidth", 1.5))
            tint = series_colour(panel, name, place)
            drawn.plot(times, values, color=tint, linewidth=width, marker=points, markersize=3.0)
            if options.get("custom.scaleDistribution", {}).get("type") == "log":
                drawn.set_yscale("log")
    for event in answers.events:
        axes.axvline(event.at, color=colour(event.annotation.colour), linewidth=0.7, linestyle=(0, (4, 2)), alpha=0.8)
    axes.set_xlim(answers.window.begin, answers.window.end)
    axes.xaxis.set_major_locator(MaxNLocator(max(2, panel.place[2] // 2), integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"))
    _finish(axes, panel, named)


def draw_over_steps(paper: Paper, panel: Shown, answers: Answers) -> None:
    """Draw values over steps, joined by time and run as the panel's transformations do."""
    axes = paper.axes(panel, _MARGINS)
    values, steps = answers.panels[panel.number]
    named = {}
    for name, series in zip(values.names, values.series, strict=True):
        twin = next((each for each in steps.series if each.labels == series.labels), None)
        at = dict(twin.samples) if twin else {}
        # A step that comes twice keeps what came last, as in Grafana's matrix.
        by_step = {at[moment]: value for moment, value in series.samples if moment in at}
        named[name] = ([*sorted(by_step)], [by_step[step] for step in sorted(by_step)])
    for place, (name, (x, y)) in enumerate(named.items()):
        axes.plot(x, y, color=series_colour(panel, name, place), linewidth=1.1)
    axes.set_xlabel("step", color=FAINT, fontsize=7, labelpad=1)
    _finish(axes, panel, named)


def _samples(answers: Sequence[Answer]) -> list[tuple[str, list[tuple[float, float]]]]:
    return [(name, series.samples) for each in answers for name, series in zip(each.names, each.series, strict=True)]


def _points(samples: Sequence[tuple[float, float]]) -> Points:
    """Return times and values with a gap where no sample came for more than a few steps."""
    times: list[float] = []
    values: list[float] = []
    usual = min((b[0] - a[0] for a, b in itertools.pairwise(samples)), default=1.0)
    for at, value in samples:
        if times and at - times[-1] > 1.5 * usual:
            times.append(times[-1] + usual)
            values.append(math.nan)
        times.append(at)
        values.append(value)
    return times, values


def _right(axes: Axes, panel: Shown, named: Mapping[str, Points]) -> Axes | None:
    placed = [name for name in named if properties(panel, name).get("custom.axisPlacement") == "right"]
    if not placed:
        return None
    right = axes.twinx()
    right.tick_params(colors=FAINT, labelsize=7, length=0, pad=-32)
    for spine in right.spines.values():
        spine.set_visible(False)
    unit = properties(panel, placed[0]).get("unit", "none")
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: spelled(value, unit)))
    return right


def _stack(axes: Axes, panel: Shown, named: Mapping[str, Points], answers: Answers) -> None:
    window = answers.window
    count = int((window.end - window.begin) / window.step) + 1
    grid = [window.begin + index * window.step for index in range(count)]
    layers = []
    for times, values in named.values():
        at = {round(moment): value for moment, value in zip(times, values, strict=True) if not math.isnan(value)}
        layers.append([at.get(round(moment), 0.0) for moment in grid])
    colours = [series_colour(panel, name, place) for place, name in enumerate(named)]
    if layers:
        axes.stackplot(grid, *layers, colors=colours, step="post", alpha=0.65, linewidth=0)


def _finish(axes: Axes, panel: Shown, named: Mapping[str, Points]) -> None:
    unit = panel.defaults["unit"]
    axes.grid(color="#2c3235", linewidth=0.5)
    axes.set_axisbelow(True)
    if panel.defaults.get("min") == 0 and axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: spelled(value, unit)))
    if not named:
        axes.text(0.5, 0.5, "No data", color=FAINT, ha="center", va="center", transform=axes.transAxes, fontsize=9)
    _legend(axes, panel, named)


def _legend(axes: Axes, panel: Shown, named: Mapping[str, Points]) -> None:
    """Write the names with their last values below the axes, as many as one or two lines take."""
    entries = []
    for place, (name, (_, values)) in enumerate(named.items()):
        last = next((value for value in reversed(values) if not math.isnan(value)), math.nan)
        unit = properties(panel, name).get("unit", "none")
        entries.append((f"{name}  {spelled(last, unit)}", series_colour(panel, name, place)))
    room, x, line = panel.place[2] * 8.2, 0.0, 0
    for text, tint in entries:
        if x and x + len(text) > room:
            x, line = 0.0, line + 1
        if line > 1:
            return
        axes.annotate(
            f"— {text}" if line < 2 else "",  # noqa: PLR2004  # two lines
            xy=(0, 0),
            xycoords="axes fraction",
            xytext=(x * 4.6 - 18, -24 - line * 10),
            textcoords="offset points",
            color=tint if tint != TEXT else TEXT,
            fontsize=7,
            annotation_clip=False,
        )
        x += len(text) + 4
