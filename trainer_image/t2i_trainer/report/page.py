"""Facts of a run to the HTML of its report page. Pure.

No script runs in the page and nothing is loaded into it: the policy in its head forbids both, whatever a caption or a
name in the bucket says. Everything of others is escaped by the template.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from t2i_api.findings import Severity
from t2i_api.status import VerdictKind
from t2i_trainer.report.charts import Curve, Mark, draw
from t2i_trainer.report.curve import Point, last_finite, smoothed, thinned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_trainer.report.facts import ReportFacts
    from t2i_trainer.report.history import Attempt, History

POINTS = 600
_FAINT, _BLUE, _ORANGE, _GREEN = "#b8c4d6", "#1f5fa8", "#d9822b", "#2c8c4a"
_QUARTER_COLOURS = ("#2c8c4a", "#1f5fa8", "#d9822b", "#b3261e")
_GOOD = {VerdictKind.IDENTICAL, VerdictKind.RENAMED}
_BAD = {VerdictKind.FOREIGN, VerdictKind.UNREADABLE}
_KILO = 1000
_EVALUATION = "The same pictures, noise and timesteps each time. The right caption must come to lie below the others."


@dataclass(frozen=True)
class Chart:
    """A chart both ways; `logarithmic` is empty where only one makes sense."""

    key: str
    title: str
    about: str
    linear: str
    logarithmic: str = ""


def render(facts: ReportFacts) -> str:
    """Return the page."""
    return _template().render(
        facts=facts,
        history=facts.history,
        charts=charts(facts.history),
        figures=figures(facts),
        prompts=next((grid.prompts for grid in reversed(facts.grids) if grid.prompts), ()),
        errors=sum(finding.severity is Severity.ERROR for finding in facts.history.findings),
    )


def charts(history: History) -> tuple[Chart, ...]:
    """Return the charts that there is something for."""
    marks, last = restarts(history.attempts), history.last_step
    loss = (
        Curve("mean of a few steps", _FAINT, _thin(history, history.losses)),
        Curve("smoothed", _BLUE, _thin(history, smoothed(history.losses))),
    )
    by_caption = (
        ("right caption", _BLUE, [Point(each.step, each.right) for each in history.evaluations]),
        ("another's caption", _ORANGE, [Point(each.step, each.wrong) for each in history.evaluations]),
        ("no caption", _GREEN, [Point(each.step, each.null) for each in history.evaluations]),
    )
    evaluation = tuple(Curve(name, colour, points, dots=True) for name, colour, points in by_caption)
    quarters = tuple(
        Curve(f"quarter {number}", colour, _thin(history, smoothed(values)))
        for number, (colour, values) in enumerate(zip(_QUARTER_COLOURS, history.quarters, strict=True), 1)
    )
    speed = (Curve("images a second", _BLUE, _thin(history, history.speeds)),)
    rate = (Curve("learning rate", _BLUE, _thin(history, history.learning_rates)),)

    def both(key: str, title: str, about: str, curves: Sequence[Curve]) -> Chart:
        linear, logarithmic = (draw(curves, marks, last_step=last, logarithmic=each) for each in (False, True))
        return Chart(key, title, about, linear, logarithmic)

    every = (
        both("loss", "Training loss", "Each step's batch is another one: noise of sampling included.", loss),
        both("evaluation", "Evaluation loss", _EVALUATION, evaluation),
        both(
            "timesteps",
            "Loss by timestep",
            "Quarter 1 is little noise, quarter 4 nearly all noise; smoothed.",
            quarters,
        ),
        Chart("speed", "Speed", "Images a second.", draw(speed, marks, last_step=last)),
        Chart("rate", "Learning rate", "As the optimizer used it.", draw(rate, marks, last_step=last)),
    )
    return tuple(chart for chart in every if chart.linear)


def figures(facts: ReportFacts) -> tuple[tuple[str, str], ...]:
    """Return the few numbers on top, as name and value."""
    history, beginning = facts.history, facts.history.beginning
    target = None if beginning is None else beginning.target_steps
    images = None if beginning is None else beginning.images_a_step
    loss, speed = last_finite(smoothed(history.losses)), last_finite(history.speeds)
    newest = next(iter(facts.checkpoints), None)
    counts = Counter(finding.severity for finding in history.findings)
    every = (
        ("step", f"{history.last_step:,}" + (f" of {target:,}" if target else "")),
        ("images seen", f"{history.last_step * images:,}" if images else ""),
        ("smoothed loss", "" if loss is None else f"{loss:.4g}"),
        ("evaluation loss", f"{history.evaluations[-1].right:.4g}" if history.evaluations else ""),
        ("images a second", "" if speed is None else f"{speed:.3g}"),
        ("attempts", str(len(history.attempts)) if history.attempts else ""),
        ("newest checkpoint", "" if newest is None else newest.name),
        ("findings", f"{counts[Severity.ERROR]} errors, {counts[Severity.WARNING]} warnings"),
    )
    return tuple((name, value) for name, value in every if value)


def restarts(attempts: Sequence[Attempt]) -> tuple[Mark, ...]:
    """Return a mark for each attempt but the first, where its steps begin."""
    return tuple(Mark(each.first_step, f"attempt {each.number} goes on from here") for each in attempts[1:])


def _thin(history: History, values: Sequence[float]) -> tuple[Point, ...]:
    return thinned(history.steps, values, POINTS)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("t2i_trainer.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": _svg, "webp": _webp, "size": _size, "tone": _tone}
    return environment.get_template("page.html.jinja")


def _svg(text: str) -> Markup:
    """Mark as safe what `charts.py` drew: it holds numbers and our own words."""
    return Markup(text)  # noqa: S704


def _webp(raw: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(raw).decode()}"


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < _KILO:
            return f"{value:.3g} {unit}"
        value /= _KILO
    return f"{value:.3g} TB"


def _tone(verdict: str) -> str:
    return "good" if verdict in _GOOD else "bad" if verdict in _BAD else "fair"
