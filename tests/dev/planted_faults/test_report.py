"""A fault counts as named by its own finding, said in time; the table tells what else was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_api.findings import FindingName
from t2i_dev.planted_faults.catalogue import HealthyRun, PlantedFault
from t2i_dev.planted_faults.job import Setting
from t2i_dev.planted_faults.laboratory import Ran, Said
from t2i_dev.planted_faults.report import Outcome, table

if TYPE_CHECKING:
    from t2i_dev.planted_faults.planting import Put


def nothing(_put: Put) -> None:
    return


FAULT = PlantedFault("zero weights", "all weights are 0", FindingName.NO_WEIGHT_MOVES, nothing, Setting(processes=2))


def outcome(*said: tuple[str, int, float]) -> Outcome:
    return Outcome(FAULT, Ran(tuple(Said(name, step, f"{name}!", seconds) for name, step, seconds in said), 300.0))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ([("NoWeightMoves", 200, 999.0)], True),
        ([("NoWeightMoves", 900, 180.0)], True),
        ([("NoWeightMoves", 201, 181.0)], False),
        ([("InitialLoss", 1, 1.0)], False),
        ([], False),
    ],
)
def test_a_fault_is_named_by_its_finding_within_200_steps_or_3_minutes(
    said: list[tuple[str, int, float]], *, named: bool
) -> None:
    assert (outcome(*said).named is not None) is named


def test_the_table_tells_both_kinds_of_runs() -> None:
    caught = outcome(("InitialLoss", 1, 2.0), ("NoWeightMoves", 10, 6.4))
    missed = outcome(("InitialLoss", 1, 2.0))
    silent = (HealthyRun("seed 0", Setting()), Ran((), 20.0))
    loud = (HealthyRun("seed 1", Setting()), Ran((Said("EmaStuck", 9, "why", 3.0),), 20.0))
    text = table([caught, missed], [silent, loud], 4.2)
    assert text.startswith("**1 of 2 faults named, 1 of 2 healthy runs silent; 4 minutes.**")
    assert (
        "| zero weights | all weights are 0, on 2 processes | NoWeightMoves | 10 | 6 s | InitialLoss | NoWeightMoves! |"
        in text
    )
    assert "| **not named** (NoWeightMoves) | | | InitialLoss | |" in text
    assert "| seed 0 | nothing | 20 s |" in text
    assert "| seed 1 | EmaStuck at step 9: why | 20 s |" in text
