"""A dashboard's JSON as Grafana reads it: its panels with their queries, its variables, its annotations.

Tests and previews look at the file that the chart ships, not at the Python that made it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A query of a panel."""

    reference: str
    expr: str
    legend: str
    instant: bool
    table: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel; `section` is the row that it stands in, `place` is x, y, width and height on the grid."""

    number: int
    kind: str
    title: str
    section: str
    folded: bool
    place: tuple[int, int, int, int]
    targets: tuple[Target, ...]
    document: dict[str, Any]

    @property
    def defaults(self) -> dict[str, Any]:
        """What holds for every field: unit, decimals, limits."""
        found: dict[str, Any] = self.document["fieldConfig"]["defaults"]
        return found

    @property
    def options(self) -> dict[str, Any]:
        """What is particular to this kind of panel."""
        found: dict[str, Any] = self.document["options"]
        return found


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable; `query` is label_values(...) for kind `query`, else its values or text."""

    name: str
    kind: str
    query: str
    multiple: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """A query of events; `at_value`: the value is their time in milliseconds."""

    name: str
    expr: str
    colour: str
    at_value: bool


def panels_of(board: dict[str, Any]) -> Iterator[Shown]:
    """Yield every panel, those in folded rows too; rows themselves are no panels here."""
    section = ""
    for document in board["panels"]:
        if document["type"] == "row":
            section = document["title"]
            yield from (_panel(each, section, folded=True) for each in document["panels"])
        else:
            yield _panel(document, section, folded=False)


def rows_of(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows."""
    return [document for document in board["panels"] if document["type"] == "row"]


def variables_of(board: dict[str, Any]) -> list[Variable]:
    """Return the variables in their order: each may use those before it."""
    return [
        Variable(each["name"], each["type"], str(each.get("query", "")), bool(each.get("multi")))
        for each in board["templating"]["list"]
    ]


def annotations_of(board: dict[str, Any]) -> list[Annotation]:
    """Return the annotations."""
    return [
        Annotation(each["name"], each["expr"], each["iconColor"], each["useValueForTime"])
        for each in board["annotations"]["list"]
    ]


def _panel(document: dict[str, Any], section: str, *, folded: bool) -> Shown:
    place = document["gridPos"]
    return Shown(
        number=document["id"],
        kind=document["type"],
        title=document["title"],
        section=section,
        folded=folded,
        place=(place["x"], place["y"], place["w"], place["h"]),
        targets=tuple(_target(each) for each in document["targets"]),
        document=document,
    )


def _target(document: dict[str, Any]) -> Target:
    return Target(
        reference=document["refId"],
        expr=document["expr"],
        legend=document["legendFormat"],
        instant=bool(document.get("instant")),
        table=document["format"] == "table",
    )
