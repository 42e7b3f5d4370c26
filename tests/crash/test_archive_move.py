"""Every side effect of an archive meets every fault: nothing is lost, nothing else is touched, a restart finishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_dev.crash.archiving import MoveScenario
from t2i_dev.crash.matrix import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_dev.crash.scenario import Scenario

MOVE = MoveScenario()


@pytest.mark.parametrize("row", [row.name for row in ROWS])
def test_moving_checkpoints_into_an_archive(expect_green: Callable[[Scenario, str], None], row: str) -> None:
    expect_green(MOVE, row)
