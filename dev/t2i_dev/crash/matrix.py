"""The rows of the matrix, and how a row becomes cells: one for every side effect (or listing) of the scenario."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from t2i_dev.crash.laboratory import Cell, Laboratory
from t2i_dev.crash.scenario import Scenario
from t2i_dev.faults import BEHAVIOURS, Fault, PlannedFault

ONE_EFFECT_A_LIFE = "one effect a life"


@dataclass(frozen=True)
class Row:
    """A fault that every side effect meets; `at_restart` strikes the next life as well."""

    name: str
    fault: Fault
    at_restart: PlannedFault | None = None
    stops: bool = False


def _row(fault: Fault) -> Row:
    return Row(fault.value, fault, stops=BEHAVIOURS[fault].stops)


ROWS: tuple[Row, ...] = (
    *(_row(fault) for fault in Fault if fault is not Fault.ONE_EFFECT),
    Row("killed, restart sees stale lists", Fault.KILLED_AFTER, PlannedFault(Fault.STALE_LIST, 0)),
    Row("killed, restart killed", Fault.KILLED_AFTER, PlannedFault(Fault.KILLED_AFTER, 2)),
    Row(ONE_EFFECT_A_LIFE, Fault.ONE_EFFECT),
)


def row_named(name: str) -> Row:
    """Return a row; raises KeyError."""
    return {row.name: row for row in ROWS}[name]


def cells(laboratory: Laboratory, scenario: Scenario, row: Row, *, every: int = 1) -> Iterator[Cell]:
    """Run one row of a scenario; nothing comes where S3 cannot do that fault to any of its requests.

    With `every` n the fault strikes each n-th place only, beginning later with each row of the matrix, so that each
    place meets an n-th of the faults.
    """
    if row.name == ONE_EFFECT_A_LIFE:
        yield laboratory.one_effect_a_life(scenario)
        return
    places = _places(laboratory, scenario, row.fault)
    for at in places[ROWS.index(row) % min(every, len(places) or 1) :: every]:
        plan = PlannedFault(row.fault, at)
        if row.stops:
            yield laboratory.duel(scenario, plan)
        else:
            yield laboratory.cell(scenario, plan, at_restart=row.at_restart)


def _places(laboratory: Laboratory, scenario: Scenario, fault: Fault) -> Sequence[int]:
    reference = laboratory.reference(scenario)
    if fault is Fault.STALE_LIST:
        return range(reference.listings + 1)
    behaviour = BEHAVIOURS[fault]
    return [number for number, request in enumerate(reference.effects, start=1) if behaviour.applies_to(request.action)]
