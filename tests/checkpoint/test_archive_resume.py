"""What a killed process left is finished by the next one, unless the job was corrected meanwhile."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.archive import plan_archive, run_archive, unfinished_archives
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import survey

if TYPE_CHECKING:
    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone."""


class KilledAt:
    """Kills at the first call of an operation."""

    def __init__(self, store: Store, operation: str) -> None:
        self._store, self._operation = store, operation

    def __getattr__(self, name: str) -> Any:
        if name == self._operation:
            raise Killed
        return getattr(self._store, name)


@pytest.fixture
def corrected(wanted: Wanted) -> Wanted:
    """The same model with the prediction type that the checkpoint was trained with."""
    return dataclasses.replace(wanted, meaning=dataclasses.replace(wanted.meaning, prediction_type="epsilon"))


def begin(checkpoints: CheckpointWriter, wanted: Wanted, killed_at: str) -> str:
    folder = checkpoints.own(1, wanted.architecture, prediction_type="epsilon")
    intent = plan_archive(survey(checkpoints.store, wanted).archivable, now=NOW)
    with pytest.raises(Killed):
        run_archive(KilledAt(checkpoints.store, killed_at), intent)
    return folder


def test_nothing_unfinished_costs_one_request(store: Store, wanted: Wanted) -> None:
    before = store.traffic
    assert finish_archives(store, wanted) == ()
    assert store.traffic.since(before).requests == 1


@pytest.mark.parametrize("killed_at", ["copy", "delete_unchanged"])
def test_an_unfinished_archive_is_finished(checkpoints: CheckpointWriter, wanted: Wanted, killed_at: str) -> None:
    folder = begin(checkpoints, wanted, killed_at)
    finished = finish_archives(checkpoints.store, wanted)
    assert [item.folders[0].folder for item in finished] == [folder]
    assert list(checkpoints.store.list(f"{folder}/")) == []
    assert unfinished_archives(checkpoints.store) == []


def test_a_checkpoint_that_fits_the_corrected_job_is_kept_for_it(
    checkpoints: CheckpointWriter, wanted: Wanted, corrected: Wanted
) -> None:
    folder = begin(checkpoints, wanted, "copy")
    assert finish_archives(checkpoints.store, corrected) == ()
    found = survey(checkpoints.store, corrected).resumable
    assert found is not None
    assert found.folder == folder
    assert unfinished_archives(checkpoints.store) == []


def test_a_committed_archive_is_finished_whatever_the_job_says_now(
    checkpoints: CheckpointWriter, wanted: Wanted, corrected: Wanted
) -> None:
    folder = begin(checkpoints, wanted, "delete_unchanged")
    assert len(finish_archives(checkpoints.store, corrected)) == 1
    assert list(checkpoints.store.list(f"{folder}/")) == []
