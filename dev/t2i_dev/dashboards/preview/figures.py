"""Draws panels of the present: one figure, a state, bars, a table; and the time line of states."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from t2i_dev.dashboards.answers import Answer, Answers
from t2i_dev.dashboards.preview.paper import BACKGROUND, FAINT, TEXT, Paper
from t2i_dev.dashboards.preview.styles import properties, series_colour
from t2i_dev.dashboards.preview.units import spelled
from t2i_dev.dashboards.reading import Shown

_LINE = 0.95  # height of a line of a table, in grid units


def draw_number(paper: Paper, panel: Shown, answers: Answers) -> None:
    """Draw one figure, or the name of the series that is there on its colour."""
    axes = paper.axes(panel, (0.2, 1.0, 0.2, 0.3))
    axes.set_axis_off()
    (answer,) = answers.panels[panel.number]
    if not answer.series:
        axes.text(
            0.5, 0.5, panel.defaults.get("noValue", "No data"), color=FAINT, ha="center", va="center", fontsize=16
        )
        return
    name, value = answer.names[0], answer.series[0].last
    options = properties(panel, name)
    tint = series_colour(panel, name, 0, value)
    is_name = panel.options.get("textMode") == "name"
    text = name if is_name else spelled(value, options["unit"], options.get("decimals"))
    filled = panel.options.get("colorMode") == "background" and tint != TEXT
    if filled:
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor=tint, transform=axes.transAxes))
    size = min(22.0, 7.0 + 52.0 * panel.place[2] / 4 / max(4, len(text)))
    axes.text(0.5, 0.5, text, color=BACKGROUND if filled else tint, ha="center", va="center", fontsize=size)


def draw_bars(paper: Paper, panel: Shown, answers: Answers) -> None:
    """Draw one horizontal bar a series."""
    axes = paper.axes(panel, (0.4, 1.2, 0.4, 0.4))
    axes.set_axis_off()
    found = [(n, s.last) for each in answers.panels[panel.number] for n, s in zip(each.names, each.series, strict=True)]
    highest = max((value for _, value in found), default=1.0) or 1.0
    for place, (name, value) in enumerate(found):
        y = 1 - (place + 1) / max(len(found), 3)
        height = 0.5 / max(len(found), 3)
        tint = series_colour(panel, name, place)
        axes.add_patch(Rectangle((0, y), 1, height, facecolor="#22252b"))
        axes.add_patch(Rectangle((0, y), value / highest, height, facecolor=tint))
        axes.text(0, y + height * 1.25, name, color=TEXT, fontsize=7.5, va="bottom")
        axes.text(1, y + height * 1.25, spelled(value, panel.defaults["unit"]), color=tint, fontsize=8, ha="right")
    if not found:
        axes.text(0.5, 0.5, "No data", color=FAINT, ha="center", va="center", fontsize=9)


def draw_timeline(paper: Paper, panel: Shown, answers: Answers) -> None:
    """Draw a bar for each series while it has samples."""
    (answer,) = answers.panels[panel.number]
    axes = paper.axes(panel, (2.9, 1.2, 0.3, 0.9))
    step = answers.window.step
    for place, (name, series) in enumerate(zip(answer.names, answer.series, strict=True)):
        pieces = [(at, step) for at, value in series.samples if value > 0]
        axes.broken_barh(pieces, (place - 0.38, 0.76), facecolors=series_colour(panel, name, place), linewidth=0)
    axes.set_yticks(range(len(answer.names)), labels=list(answer.names))
    axes.set_ylim(len(answer.names) - 0.4, -0.6)
    axes.set_xlim(answers.window.begin, answers.window.end)
    axes.xaxis.set_major_locator(MaxNLocator(max(2, panel.place[2] // 2), integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"))


def draw_table(paper: Paper, panel: Shown, answers: Answers) -> None:
    """Draw the lines that the panel's transformations make of its queries."""
    titles, lines = tabulated(panel, answers.panels[panel.number])
    axes = paper.axes(panel, (0.35, 1.1, 0.2, 0.2))
    axes.set_axis_off()
    height = panel.place[3] - 1.3
    axes.set_xlim(0, 1)
    axes.set_ylim(height, 0)
    widths = (
        [max(len(title), *(len(line[at]) for line in lines), 4) for at, title in enumerate(titles)] if lines else []
    )
    total = sum(width + 3 for width in widths) or 1
    left = 0.0
    for at, width in enumerate(widths):
        axes.text(left / total, 0.5, titles[at], color="#6e9fff", fontsize=7.5, va="center")
        for number, line in enumerate(lines):
            if (number + 1) * _LINE < height:
                axes.text(left / total, 0.5 + (number + 1) * _LINE, line[at], color=TEXT, fontsize=7.5, va="center")
        left += width + 3
    if not lines:
        axes.text(0.5, height / 2, "No data", color=FAINT, ha="center", va="center", fontsize=9)


def tabulated(panel: Shown, answers: Sequence[Answer]) -> tuple[list[str], list[list[str]]]:
    """Return titles and lines, as `merge` and `organize` make them.

    One line for each set of the labels that all queries share; what labels a query has beyond those, and its value, are
    further columns.
    """
    options: dict[str, Any] = next(
        each["options"] for each in panel.document["transformations"] if each["id"] == "organize"
    )
    order: dict[str, int] = options["indexByName"]
    columns = {column: options["renameByName"][column] for column in sorted(order, key=order.__getitem__)}
    lines = [[_cell(panel, title, line.get(column)) for column, title in columns.items()] for line in _merged(answers)]
    return list(columns.values()), sorted(lines)


def _merged(answers: Sequence[Answer]) -> list[dict[str, str | float]]:
    labels = [set(series.labels) for answer in answers for series in answer.series]
    shared = sorted(set.intersection(*labels)) if labels else []
    lines: dict[tuple[str, ...], dict[str, str | float]] = {}
    for answer in answers:
        column = "Value" if len(answers) == 1 else f"Value #{answer.target.reference}"
        for series in answer.series:
            line = lines.setdefault(tuple(series.labels[label] for label in shared), {})
            line.update(series.labels)
            line[column] = series.last
    return list(lines.values())


def _cell(panel: Shown, title: str, value: str | float | None) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else spelled(value, properties(panel, title)["unit"])
