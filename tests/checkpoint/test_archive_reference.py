"""`method: Reference` archives in place: a handful of requests whatever the size, and the survey passes it by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.archive import ArchiveError, SourceChangedError, plan_archive, run_archive, unfinished_archives
from t2i_checkpoint.archive_list import ArchiveState, list_archives
from t2i_checkpoint.archive_reference import archived_references
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import survey
from t2i_dev.contents import contents

if TYPE_CHECKING:
    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.archive import ArchiveIntent
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
OLD = "checkpoint-00005000"
POINTER = "checkpoint-archived/20251214T221758Z-custom-unet/REFERENCE.json"


@pytest.fixture
def planned(checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture) -> ArchiveIntent:
    checkpoints.accelerate(5000, old_unet)
    checkpoints.own(4000, wanted.architecture, prediction_type="epsilon")
    return plan_archive(survey(checkpoints.store, wanted).archivable, now=NOW, method=ArchiveMethod.REFERENCE)


def test_the_bytes_stay_and_a_pointer_is_written_in_at_most_five_requests(
    store: Store, planned: ArchiveIntent, wanted: Wanted
) -> None:
    before, traffic = contents(store), store.traffic
    run_archive(store, planned)
    cost = store.traffic.since(traffic)
    assert cost.requests <= 5
    assert cost.bytes_read == 0
    added = {planned.root + "MANIFEST.json", planned.root + "COMPLETED.json", POINTER}
    after = contents(store)
    assert set(after) == set(before) | added
    assert {key: after[key] for key in before} == before
    assert survey(store, wanted).judgements == ()
    listing, traffic = list(store.list("checkpoint")), store.traffic
    assert archived_references(store, listing) == {OLD, "checkpoints/step-00004000-w1"}
    assert store.traffic.since(traffic).requests == 1
    assert unfinished_archives(store) == []
    summary = list_archives(store)[0]
    assert (summary.state, summary.method) == (ArchiveState.COMPLETED, ArchiveMethod.REFERENCE)
    assert summary.size_bytes == planned.size_bytes


def test_a_second_run_changes_nothing(store: Store, planned: ArchiveIntent) -> None:
    first = run_archive(store, planned)
    before = list(store.list(""))
    assert run_archive(store, planned) == first
    assert list(store.list("")) == before


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("completed_writes", [0, 1, 2])
def test_killed_at_any_write_the_next_preflight_finishes_it(
    store: Store, planned: ArchiveIntent, wanted: Wanted, completed_writes: int
) -> None:
    class Killing:
        writes = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def create(self, key: str, data: bytes) -> None:
            if self.writes == completed_writes:
                raise Killed
            self.writes += 1
            store.create(key, data)

    with pytest.raises(Killed):
        run_archive(Killing(), planned)
    finished = finish_archives(store, wanted)
    if completed_writes == 0:
        assert finished == ()
        run_archive(store, planned)
    assert survey(store, wanted).judgements == ()
    assert unfinished_archives(store) == []
    assert store.head(POINTER) is not None


def test_a_checkpoint_that_changed_since_its_verdict_is_not_hidden(
    store: Store, planned: ArchiveIntent, wanted: Wanted
) -> None:
    store.put(f"{OLD}/model.safetensors", b"other weights")
    before = contents(store)
    with pytest.raises(SourceChangedError):
        run_archive(store, planned)
    assert contents(store) == before
    assert len(survey(store, wanted).judgements) == 2


def test_a_change_between_commit_and_pointer_lets_it_be_judged_afresh(
    store: Store, planned: ArchiveIntent, wanted: Wanted
) -> None:
    class KilledAfterCommit:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def create(self, key: str, data: bytes) -> None:
            store.create(key, data)
            raise Killed

    with pytest.raises(Killed):
        run_archive(KilledAfterCommit(), planned)
    store.put(f"{OLD}/late.txt", b"x")
    with pytest.raises(SourceChangedError):
        finish_archives(store, wanted)
    assert finish_archives(store, wanted) == ()
    assert len(survey(store, wanted).judgements) == 2


@pytest.mark.parametrize(
    "raw", [b"{", b"{}", b'{"format": "t2i.dev/archive-reference", "name": "x", "folders": ["y"]}']
)
@pytest.mark.usefixtures("planned")
def test_a_pointer_that_cannot_be_believed_stops_and_says_where(store: Store, raw: bytes) -> None:
    store.put(POINTER, raw)
    with pytest.raises(ArchiveError, match="REFERENCE"):
        archived_references(store, list(store.list("checkpoint")))


@pytest.mark.usefixtures("planned")
def test_without_a_pointer_nothing_is_read(store: Store) -> None:
    listing = list(store.list("checkpoint"))
    before = store.traffic
    assert archived_references(store, listing) == frozenset()
    assert store.traffic == before
