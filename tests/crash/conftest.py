"""The laboratory of the crash matrix on the real S3 server; one for all tests of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_dev.crash.laboratory import Laboratory
from t2i_dev.crash.matrix import cells, row_named
from t2i_dev.crash.stores import TestedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from t2i_dev.crash.scenario import Scenario
    from t2i_dev.s3_server import S3Server


@pytest.fixture(scope="session")
def laboratory(s3_server: S3Server) -> Iterator[Laboratory]:
    with Laboratory(TestedStore.versitygw(s3_server)) as opened:
        yield opened


@pytest.fixture
def expect_green(laboratory: Laboratory) -> Callable[[Scenario, str], None]:
    """Run one row of the matrix; every cell must be green."""

    def run(scenario: Scenario, row: str) -> None:
        results = list(cells(laboratory, scenario, row_named(row)))
        red = [f"{cell.plan} ({cell.effect}): {'; '.join(cell.problems)}" for cell in results if cell.problems]
        assert not red, "\n".join(red)

    return run
