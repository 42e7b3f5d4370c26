"""What a dashboard would show: its variables are chosen and its queries asked of a real Prometheus."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2i_dev.dashboards.interpolation import Window, interpolated
from t2i_dev.dashboards.reading import Annotation, Shown, Target, Variable, annotations_of, panels_of, variables_of
from t2i_dev.prometheus import Prometheus, Series

_LABEL_VALUES = re.compile(r"label_values\((?P<series>.*), (?P<label>\w+)\)")
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
Values = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The series that a query returned, in the order of their names."""

    target: Target
    series: tuple[Series, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """When an annotation marks the graphs, in seconds since the epoch."""

    annotation: Annotation
    at: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that one look at a dashboard asks for; `panels` by their number."""

    window: Window
    values: Values
    panels: dict[int, tuple[Answer, ...]]
    events: tuple[Event, ...]


def ask(prometheus: Prometheus, board: dict[str, Any], window: Window, chosen: Mapping[str, str]) -> Answers:
    """Ask everything. `chosen` are the reader's choices; a variable that is not among them takes its first value."""
    values = choose(prometheus, variables_of(board), window, chosen)
    panels = {panel.number: _asked(prometheus, panel, window, values) for panel in panels_of(board)}
    events = [event for each in annotations_of(board) for event in _events(prometheus, each, window, values)]
    return Answers(window, values, panels, tuple(events))


def choose(prometheus: Prometheus, variables: list[Variable], window: Window, chosen: Mapping[str, str]) -> Values:
    """Return the value of every variable, each asked with those before it. Raises ValueError for one without any."""
    values: Values = {**window.macros, "datasource": "prometheus", "__url_time_range": ""}
    for variable in variables:
        if variable.kind == "query":
            values[variable.name] = _first(variable, options(prometheus, variable, window, values), chosen)
        elif variable.kind != "datasource":
            values[variable.name] = chosen.get(variable.name, variable.query.split(",")[0])
    return values


def options(prometheus: Prometheus, variable: Variable, window: Window, values: Values) -> list[str]:
    """Return what a reader can choose from."""
    match = _LABEL_VALUES.fullmatch(variable.query)
    if match is None:
        raise ValueError(f"{variable.name}: {variable.query} is no label_values(...)")
    series = interpolated(match["series"], values)
    return prometheus.label_values(match["label"], series, start=window.begin, end=window.end)


def legend(target: Target, labels: Mapping[str, str]) -> str:
    """Return what Grafana calls a series."""
    if target.legend == "__auto":
        return ", ".join(value for name, value in sorted(labels.items()) if name != "__name__") or target.expr
    return _LABEL.sub(lambda match: labels.get(match[1], ""), target.legend)


def _first(variable: Variable, found: list[str], chosen: Mapping[str, str]) -> str | list[str]:
    if not found:
        raise ValueError(f"{variable.name}: {variable.query} finds nothing to choose from")
    if variable.multiple:
        return found
    return chosen.get(variable.name, found[0])


def _asked(prometheus: Prometheus, panel: Shown, window: Window, values: Values) -> tuple[Answer, ...]:
    return tuple(_answer(prometheus, target, window, values) for target in panel.targets)


def _answer(prometheus: Prometheus, target: Target, window: Window, values: Values) -> Answer:
    expr = interpolated(target.expr, values)
    if target.instant:
        found = prometheus.query(expr, at=window.end)
    else:
        found = prometheus.query_range(expr, start=window.begin, end=window.end, step_seconds=window.step)
    named = sorted(
        ((interpolated(legend(target, each.labels), values), each) for each in found), key=lambda pair: pair[0]
    )
    return Answer(target, tuple(each for _, each in named), tuple(name for name, _ in named))


def _events(prometheus: Prometheus, annotation: Annotation, window: Window, values: Values) -> list[Event]:
    """Return each event once: neighbours of a series that is above 0 are one, and so are equal times."""
    expr = interpolated(annotation.expr, values)
    moments: set[float] = set()
    for series in prometheus.query_range(expr, start=window.begin, end=window.end, step_seconds=window.step):
        if annotation.at_value:
            moments |= {value / 1000 for _, value in series.samples}
            continue
        last = float("-inf")
        for at, value in series.samples:
            if value > 0 and at - last > window.step:
                moments.add(at)
            last = at if value > 0 else last
    return [Event(annotation, at) for at in sorted(moments) if window.begin <= at <= window.end]
