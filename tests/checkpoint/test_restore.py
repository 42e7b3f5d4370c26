"""A restore brings every byte back to its old key, keeps the archive whole and never replaces anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.archive import ArchiveError, ArchiveIntent, plan_archive, run_archive, unfinished_archives
from t2i_checkpoint.archive_list import ArchiveState, list_archives
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.restore import plan_restore, run_restore
from t2i_dev.contents import contents

if TYPE_CHECKING:
    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.archive_progress import ArchiveProgress
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
OLD = "checkpoint-00005000"


@pytest.fixture
def originals(checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture) -> dict[str, bytes]:
    checkpoints.accelerate(5000, old_unet)
    checkpoints.own(4000, wanted.architecture, prediction_type="epsilon")
    return contents(checkpoints.store)


@pytest.fixture
def planned(store: Store, originals: dict[str, bytes], wanted: Wanted) -> ArchiveIntent:
    assert originals, "laid before the survey"
    return plan_archive(survey(store, wanted).archivable, now=NOW)


def test_everything_comes_back_and_the_archive_stays_whole(
    store: Store, originals: dict[str, bytes], planned: ArchiveIntent, wanted: Wanted
) -> None:
    run_archive(store, planned)
    archived = contents(store, planned.root)
    told: list[ArchiveProgress] = []
    run_restore(store, plan_restore(store, planned.name), told.append)
    assert contents(store, "checkpoint") == originals
    assert contents(store, planned.root) == {**archived, planned.root + "RESTORED.json": b"{}\n"}
    last = told[-1]
    assert (last.stage, last.objects_done, last.bytes_done) == ("Restoring", last.objects_total, planned.size_bytes)
    assert list_archives(store)[0].state is ArchiveState.RESTORED
    assert len(survey(store, wanted).archivable) == 2


def test_a_second_restore_changes_nothing(store: Store, planned: ArchiveIntent) -> None:
    run_archive(store, planned)
    run_restore(store, plan_restore(store, planned.name))
    before = list(store.list(""))
    run_restore(store, plan_restore(store, planned.name))
    assert list(store.list("")) == before


def test_what_was_restored_can_be_archived_again(store: Store, planned: ArchiveIntent, wanted: Wanted) -> None:
    run_archive(store, planned)
    run_restore(store, plan_restore(store, planned.name))
    again = plan_archive(survey(store, wanted).archivable, now=NOW + timedelta(days=1))
    run_archive(store, again)
    assert [summary.state for summary in list_archives(store)] == [ArchiveState.COMPLETED, ArchiveState.RESTORED]
    assert list(store.list("checkpoint")) == []


@pytest.mark.parametrize("path", ["late.txt", "model.safetensors"])
def test_what_lies_at_the_old_place_now_is_left_alone(store: Store, planned: ArchiveIntent, path: str) -> None:
    run_archive(store, planned)
    restore = plan_restore(store, planned.name)
    store.put(f"{OLD}/{path}", b"somebody else's")
    before = contents(store)
    for attempt in (lambda: plan_restore(store, planned.name), lambda: run_restore(store, restore)):
        with pytest.raises(ArchiveError, match="left alone") as caught:
            attempt()
        assert caught.value.reason == "RestoreTargetTaken"
    assert contents(store) == before


def test_what_appears_during_the_restore_is_not_replaced(store: Store, planned: ArchiveIntent) -> None:
    run_archive(store, planned)
    manifest_key = "checkpoints/step-00004000-w1/MANIFEST.json"

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def copy(self, source_key: str, destination_key: str, **options: Any) -> None:
            if destination_key == manifest_key:
                store.put(destination_key, b"somebody else's")
            store.copy(source_key, destination_key, **options)

    with pytest.raises(ArchiveError, match="left alone"):
        run_restore(Racing(), plan_restore(store, planned.name))
    assert store.read(manifest_key) == b"somebody else's"


def test_an_archive_that_was_damaged_is_refused_before_anything_is_written(
    store: Store, planned: ArchiveIntent
) -> None:
    run_archive(store, planned)
    restore = plan_restore(store, planned.name)
    store.delete([planned.entries[-1].destination])
    with pytest.raises(ArchiveError, match="no longer what was archived"):
        plan_restore(store, planned.name)
    with pytest.raises(ArchiveError, match="no longer what was archived"):
        run_restore(store, restore)


def test_names_that_lead_nowhere_say_so(store: Store, planned: ArchiveIntent) -> None:
    for name, reason in (
        ("nonsense", "ArchiveNotFound"),
        ("../checkpoints", "ArchiveNotFound"),
        (planned.name, "ArchiveNotFound"),
    ):
        with pytest.raises(ArchiveError) as caught:
            plan_restore(store, name)
        assert caught.value.reason == reason
    store.create(planned.root + "INTENT.json", planned.to_json())
    with pytest.raises(ArchiveError, match="never committed"):
        plan_restore(store, planned.name)


class Killed(BaseException):
    """The process is gone."""


class KilledAtDelete:
    """Kills before the second deletion."""

    def __init__(self, store: Store) -> None:
        self._store, self._deleted = store, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete_unchanged(self, info: Any) -> None:
        if self._deleted:
            raise Killed
        self._deleted += 1
        self._store.delete_unchanged(info)


def test_an_archive_that_is_still_deleting_is_finished_first(
    store: Store, originals: dict[str, bytes], planned: ArchiveIntent
) -> None:
    # Otherwise the next preflight would finish it, and delete what had just come back or stop for good.
    with pytest.raises(Killed):
        run_archive(KilledAtDelete(store), planned, concurrency=1)
    run_restore(store, plan_restore(store, planned.name))
    assert contents(store, "checkpoint") == originals
    assert unfinished_archives(store) == []


def test_an_archive_in_place_is_forgotten(store: Store, originals: dict[str, bytes], wanted: Wanted) -> None:
    intent = plan_archive(survey(store, wanted).archivable, now=NOW, method=ArchiveMethod.REFERENCE)
    run_archive(store, intent)
    assert survey(store, wanted).judgements == ()
    run_restore(store, plan_restore(store, intent.name))
    assert len(survey(store, wanted).archivable) == 2
    assert originals.items() <= contents(store, "checkpoint").items()
    run_archive(store, intent)  # an archiver that was stopped before its last step goes on now
    assert len(survey(store, wanted).archivable) == 2
