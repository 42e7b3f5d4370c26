"""The least that calls itself S3 (moto): it copies a source that was replaced, whatever condition the copy carries.

A checkpoint is never moved there; it is archived where it lies, and that survives the same faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.probe import probe
from t2i_dev.crash.laboratory import Laboratory
from t2i_dev.crash.matrix import cells, row_named
from t2i_dev.crash.suites import SUITES
from t2i_dev.faults import Fault
from t2i_dev.other_stores import moto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with moto(tmp_path_factory.mktemp("moto")) as store, Laboratory(store) as laboratory:
        yield laboratory


def test_it_is_found_out_and_nothing_is_moved_there(careless: Laboratory) -> None:
    store = careless.open("probed", careless.store.endpoint)
    abilities = probe(store)
    assert not abilities.copy_source_condition
    assert abilities.safe_method is ArchiveMethod.REFERENCE
    assert any("condition" in reason for reason in abilities.reasons)
    assert list(store.list("")) == []


@pytest.mark.parametrize("row", [Fault.KILLED_AFTER, Fault.LOST_ANSWER, Fault.STOPPED_BEFORE])
def test_archiving_in_place_survives_there(careless: Laboratory, tmp_path: Path, row: Fault) -> None:
    scenario = SUITES["archive-reference"].make(careless, tmp_path)
    results = list(cells(careless, scenario, row_named(row)))
    assert results
    assert [cell.problems for cell in results if cell.problems] == []
