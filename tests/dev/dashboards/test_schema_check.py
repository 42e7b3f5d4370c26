"""The check against Grafana's schema refuses what Grafana would not understand."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2i_dev.dashboards.write import documents
from t2i_dev.tools import DASHBOARD_CHECK, program

Board = dict[str, Any]


def _unknown_field(board: Board) -> None:
    board["rows"] = []


def _unknown_option(board: Board) -> None:
    board["panels"][1]["options"]["colour"] = "red"


def _wrong_type(board: Board) -> None:
    board["panels"][1]["targets"][0]["instant"] = "yes"


def _missing_field(board: Board) -> None:
    del board["annotations"]["list"][0]["iconColor"]


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (_unknown_field, "unexpected field 'rows'"),
        (_unknown_option, "unexpected field 'colour'"),
        (_wrong_type, "cannot unmarshal string"),
        (_missing_field, "iconColor: required field is missing"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, break_it: Callable[[Board], None], said: str) -> None:
    board = json.loads(documents()["t2i-training-run.json"])
    break_it(board)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(board))
    result = subprocess.run([program(DASHBOARD_CHECK), path], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert said in result.stderr
