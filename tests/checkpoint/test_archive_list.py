"""`list_archives` names every archive with its state, and what cannot be believed among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.archive import abandon_archive, plan_archive, run_archive
from t2i_checkpoint.archive_list import ArchiveState, list_archives
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.restore import plan_restore, run_restore

if TYPE_CHECKING:
    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.archive import ArchiveIntent
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)


@pytest.fixture
def planned(checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture) -> ArchiveIntent:
    checkpoints.accelerate(5000, old_unet)
    return plan_archive(survey(checkpoints.store, wanted).archivable, now=NOW)


def state(store: Store) -> ArchiveState:
    (summary,) = list_archives(store)
    return summary.state


class Killed(BaseException):
    """The process is gone."""


class KilledAt:
    """Kills at an operation."""

    def __init__(self, store: Store, operation: str) -> None:
        self._store, self._operation = store, operation

    def __getattr__(self, name: str) -> Any:
        if name == self._operation:
            raise Killed
        return getattr(self._store, name)


def test_an_archive_passes_through_its_states(store: Store, planned: ArchiveIntent) -> None:
    assert list_archives(store) == ()
    with pytest.raises(Killed):
        run_archive(KilledAt(store, "copy"), planned)
    assert state(store) is ArchiveState.UNFINISHED
    assert not list_archives(store)[0].restorable
    with pytest.raises(Killed):
        run_archive(KilledAt(store, "delete_unchanged"), planned)
    assert state(store) is ArchiveState.COMMITTED
    run_archive(store, planned)
    assert state(store) is ArchiveState.COMPLETED
    run_restore(store, plan_restore(store, planned.name))
    assert state(store) is ArchiveState.RESTORED


def test_a_given_up_archive_says_so(store: Store, planned: ArchiveIntent) -> None:
    store.create(planned.root + "INTENT.json", planned.to_json())
    abandon_archive(store, planned, "x")
    assert state(store) is ArchiveState.ABANDONED


def test_it_tells_what_is_in_there_newest_first(
    store: Store, planned: ArchiveIntent, checkpoints: CheckpointWriter, old_unet: Architecture, wanted: Wanted
) -> None:
    run_archive(store, planned)
    checkpoints.accelerate(6000, old_unet)
    found = survey(store, wanted).archivable
    run_archive(store, plan_archive(found, now=NOW + timedelta(days=1), label="later", method=ArchiveMethod.REFERENCE))
    before = store.traffic
    later, earlier = list_archives(store)
    assert store.traffic.since(before).requests == 3
    assert (later.name, later.label, later.method) == ("20251215T221758Z-later", "later", ArchiveMethod.REFERENCE)
    assert (earlier.label, earlier.created_at) == ("custom-unet", NOW)
    assert (earlier.objects, earlier.size_bytes) == (len(planned.entries), planned.size_bytes)
    assert [(folder.folder, folder.step, folder.verdict) for folder in earlier.folders] == [
        ("checkpoint-00005000", 5000, "foreign")
    ]


@pytest.mark.parametrize("document", ["INTENT.json", "MANIFEST.json", "COMPLETED.json"])
def test_documents_that_cannot_be_believed_hide_no_other_archive(
    store: Store, planned: ArchiveIntent, document: str
) -> None:
    run_archive(store, planned)
    store.put(f"archive/20260101T000000Z-broken/{document}", b"{")
    broken, whole = list_archives(store)
    assert (broken.state, broken.restorable) == (ArchiveState.UNREADABLE, False)
    assert broken.fault is not None
    assert whole.state is ArchiveState.COMPLETED
