"""The laboratory of the crash matrix on the real S3 server, and its scenarios; one for all tests of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_dev.crash.laboratory import Laboratory
from t2i_dev.crash.matrix import ONE_EFFECT_A_LIFE, cells, row_named
from t2i_dev.crash.stores import TestedStore
from t2i_dev.crash.suites import SUITES
from t2i_dev.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from t2i_dev.crash.scenario import Scenario
    from t2i_dev.s3_server import S3Server

KILLS = {Fault.KILLED_BEFORE, Fault.KILLED_AFTER, ONE_EFFECT_A_LIFE}


@pytest.fixture(scope="session")
def laboratory(s3_server: S3Server) -> Iterator[Laboratory]:
    with Laboratory(TestedStore.of(s3_server)) as opened:
        yield opened


@pytest.fixture(scope="session")
def expect_green(laboratory: Laboratory, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Run one row of a suite, each `every`-th place of it (kills: each `kills_every`-th); every cell must be green."""
    made: dict[str, Scenario] = {}

    def run(suite: str, row: str, *, every: int, kills_every: int) -> None:
        if suite not in made:
            made[suite] = SUITES[suite].make(laboratory, tmp_path_factory.mktemp("crash"))
        places = kills_every if row in KILLS else every
        results = list(cells(laboratory, made[suite], row_named(row), every=places))
        red = [f"{cell.plan} ({cell.effect}): {'; '.join(cell.problems)}" for cell in results if cell.problems]
        assert not red, "\n".join(red)

    return run
