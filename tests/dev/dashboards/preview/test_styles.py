"""A series looks as the panel's options say."""

import json
from typing import Any

import pytest

from t2i_dev.dashboards.preview.paper import NAMED, PALETTE
from t2i_dev.dashboards.preview.styles import properties, series_colour
from t2i_dev.dashboards.reading import Shown, panels_of
from t2i_dev.dashboards.write import documents


def panel(title: str, kind: str) -> Shown:
    board: dict[str, Any] = json.loads(documents()["t2i-training-run.json"])
    (found,) = (each for each in panels_of(board) if (each.title, each.kind) == (title, kind))
    return found


@pytest.mark.parametrize(("name", "scale"), [("raw, linear", None), ("raw, logarithmic", "log")])
def test_the_name_of_the_series_chooses_the_axis(name: str, scale: str | None) -> None:
    found = properties(panel("Loss", "timeseries"), name)
    assert found.get("custom.scaleDistribution", {}).get("type") == scale


def test_an_override_of_one_name_leaves_the_others_alone() -> None:
    rates = panel("Learning rate and gradient norm", "timeseries")
    assert properties(rates, "learning rate")["unit"] == "sci"
    assert properties(rates, "gradient norm")["unit"] == "none"


def test_a_state_has_its_colour_and_a_value_that_of_the_threshold_below() -> None:
    assert series_colour(panel("State", "stat"), "Completed", 0) == NAMED["green"]
    expected = panel("As expected", "stat")
    assert [series_colour(expected, "", 0, value) for value in (0.0, 1.0)] == [NAMED["red"], NAMED["green"]]


def test_others_take_turns() -> None:
    curves = panel("Step time by rank", "timeseries")
    assert [series_colour(curves, f"rank {rank}", rank) for rank in (0, 1)] == list(PALETTE[:2])
