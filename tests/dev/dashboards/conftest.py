"""The dashboards as the chart ships them."""

import json
from typing import Any

import pytest

from t2i_dev.dashboards.write import directory

NAMES = ("t2i-training-run", "t2i-fleet-and-operator")


@pytest.fixture(params=NAMES)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One dashboard after the other."""
    document: dict[str, Any] = json.loads((directory() / f"{request.param}.json").read_text())
    return document
