"""Values are written as Grafana writes them."""

import json
import math

import pytest

from t2i_dev.dashboards.preview.units import spelled
from t2i_dev.dashboards.reading import panels_of
from t2i_dev.dashboards.write import documents


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.25, "none", "0.25"),
        (1200.0, "none", "1200"),
        (0.123456, "none", "0.123"),
        (0.0001, "sci", "1.00e-04"),
        (0.0, "s", "0 s"),
        (0.0125, "s", "12.5 ms"),
        (75.0, "s", "1.25 min"),
        (200_000.0, "s", "2.31 d"),
        (1536.0, "bytes", "1.5 KiB"),
        (0.0, "bytes", "0 B"),
        (0.5, "percentunit", "50%"),
        (93.0, "percent", "93%"),
        (12.0, "suffix: img/s", "12 img/s"),
        (1.0, "bool_yes_no", "Yes"),
        (math.nan, "s", "NaN"),
    ],
)
def test_a_value_is_spelled(value: float, unit: str, expected: str) -> None:
    assert spelled(value, unit) == expected


def test_decimals_are_kept() -> None:
    assert spelled(0.5, "none", 4) == "0.5000"


def test_every_unit_of_every_panel_can_be_spelled() -> None:
    for text in documents().values():
        for panel in panels_of(json.loads(text)):
            assert spelled(1.0, panel.defaults["unit"])
