"""Commit and give-up compete for one key: whichever comes first holds, however late the other goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.archive import ArchiveError, run_archive, unfinished_archives
from t2i_checkpoint.archive_decision import ArchiveAbandonedError, abandon_archive, is_committed, load_decision
from t2i_checkpoint.archive_documents import ArchiveAbandonment, ArchiveManifest
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import survey
from t2i_dev.contents import contents

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.archive import ArchiveIntent
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
OLD = "checkpoint-00005000"


class Interrupted:
    """Does something right before the `create` of a key."""

    def __init__(self, store: Store, key: str, act: Callable[[], object]) -> None:
        self._store, self._key, self._act, self._acted = store, key, act, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def create(self, key: str, data: bytes) -> None:
        if key == self._key and not self._acted:
            self._acted = True
            self._act()
        self._store.create(key, data)


def test_an_archiver_that_was_stopped_before_its_commit_cannot_commit_what_was_given_up(
    store: Store, planned: ArchiveIntent
) -> None:
    # The job's spec was corrected, the checkpoint is in use again: moving it now would pull it away under the trainer.
    before = contents(store, "checkpoint")
    stopped = Interrupted(store, planned.root + "MANIFEST.json", lambda: abandon_archive(store, planned, "it fits now"))
    with pytest.raises(ArchiveAbandonedError, match="it fits now"):
        run_archive(stopped, planned)
    with pytest.raises(ArchiveAbandonedError):
        run_archive(store, planned)
    assert contents(store, "checkpoint") == before
    assert unfinished_archives(store) == []
    assert not is_committed(store, planned)


def test_what_was_committed_is_not_given_up(store: Store, planned: ArchiveIntent) -> None:
    stopped = Interrupted(store, planned.root + "COMPLETED.json", lambda: None)
    manifest = run_archive(stopped, planned)
    assert abandon_archive(store, planned, "too late") == manifest
    assert isinstance(load_decision(store, planned.name), ArchiveManifest)
    assert store.head(planned.root + "ABANDONED.json") is None


class Killed(BaseException):
    """The process is gone."""


def test_killed_between_the_decision_and_its_mark_the_next_preflight_writes_the_mark(
    store: Store, planned: ArchiveIntent, wanted: Wanted
) -> None:
    store.create(planned.root + "INTENT.json", planned.to_json())

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        abandon_archive(Interrupted(store, planned.root + "ABANDONED.json", die), planned, "it fits now")
    assert [intent.name for intent in unfinished_archives(store)] == [planned.name]
    assert finish_archives(store, wanted) == ()
    assert store.head(planned.root + "ABANDONED.json") is not None
    assert unfinished_archives(store) == []
    assert len(survey(store, wanted).archivable) == 1


def test_an_archive_that_an_older_version_gave_up_stays_given_up(store: Store, planned: ArchiveIntent) -> None:
    # Before this version ABANDONED.json alone said so.
    store.create(planned.root + "INTENT.json", planned.to_json())
    store.create(planned.root + "ABANDONED.json", b'{"why": "x"}\n')
    assert unfinished_archives(store) == []
    with pytest.raises(ArchiveAbandonedError):
        run_archive(store, planned)


def test_a_commit_outlives_an_older_versions_mark(store: Store, planned: ArchiveIntent) -> None:
    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        run_archive(Interrupted(store, planned.root + "COMPLETED.json", die), planned)
    store.create(planned.root + "ABANDONED.json", b'{"why": "x"}\n')
    assert [intent.name for intent in unfinished_archives(store)] == [planned.name]
    run_archive(store, planned)
    assert unfinished_archives(store) == []


def test_an_intent_that_was_never_recorded_leaves_no_mark(store: Store, planned: ArchiveIntent) -> None:
    before = contents(store)
    assert abandon_archive(store, planned, "x") is None
    assert contents(store) == before


def test_a_decision_that_cannot_be_believed_stops_everything(store: Store, planned: ArchiveIntent) -> None:
    before = contents(store, "checkpoint")
    abandonment = ArchiveAbandonment(name="20251214T221758Z-other", why="x")
    for raw in (b"{", abandonment.to_json()):
        store.put(planned.root + "MANIFEST.json", raw)
        with pytest.raises(ArchiveError, match="by hand"):
            run_archive(store, planned)
    assert contents(store, "checkpoint") == before
