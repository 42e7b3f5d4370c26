"""Archiving moves whole checkpoints and loses nothing: not to a change at the source, not to a wrong copy."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.archive import (
    ArchiveError,
    ArchiveIntent,
    ArchiveProgress,
    SourceChangedError,
    is_committed,
    plan_archive,
    run_archive,
    unfinished_archives,
)
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.s3 import S3Limits, S3Store
from t2i_checkpoint.store import Credentials, StoreUnavailable
from t2i_dev.contents import contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted
    from t2i_dev.s3_server import S3Server

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
ROOT = "archive/20251214T221758Z-custom-unet/"
OLD = "checkpoint-00005000"


@pytest.fixture
def planned(checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture) -> ArchiveIntent:
    checkpoints.accelerate(5000, old_unet)
    checkpoints.own(4000, wanted.architecture, prediction_type="epsilon")
    checkpoints.files("checkpoint-00003000", {"optimizer.bin": b"incomplete, stays"})
    checkpoints.files("samples", {"step-00005000/grid.png": b"stays"})
    return plan_archive(survey(checkpoints.store, wanted).archivable, now=NOW)


def test_every_byte_is_in_the_archive_and_gone_from_the_source(
    store: Store, planned: ArchiveIntent, wanted: Wanted
) -> None:
    before = contents(store)
    manifest = run_archive(store, planned)
    after = contents(store)
    for entry in planned.entries:
        assert after[ROOT + entry.source] == before[entry.source]
        assert entry.source not in after
    untouched = set(before) - {entry.source for entry in planned.entries}
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    marks = {ROOT + name for name in ("INTENT.json", "MANIFEST.json", "COMPLETED.json")}
    assert set(after) == untouched | marks | {entry.destination for entry in planned.entries}
    assert manifest.size_bytes == planned.size_bytes
    assert {item.source for item in manifest.objects} == {entry.source for entry in planned.entries}
    assert [j.step for j in survey(store, wanted).judgements] == [3000]
    assert unfinished_archives(store) == []


def test_progress_is_told_in_bytes(store: Store, planned: ArchiveIntent) -> None:
    told: list[ArchiveProgress] = []
    run_archive(store, planned, told.append)
    copying = [p for p in told if p.stage == "Copying"]
    assert [p.objects_done for p in copying] == sorted(p.objects_done for p in copying)
    assert [p.bytes_done for p in copying] == sorted(p.bytes_done for p in copying)
    for stage in ("Copying", "Deleting"):
        last = [p for p in told if p.stage == stage][-1]
        assert last.bytes_done == last.bytes_total == planned.size_bytes
        assert last.objects_done == last.objects_total


def test_a_second_run_of_a_finished_archive_changes_nothing(store: Store, planned: ArchiveIntent) -> None:
    run_archive(store, planned)
    before = contents(store)
    run_archive(store, planned)
    assert contents(store) == before


def test_what_somebody_puts_back_after_the_archive_stays(
    store: Store, planned: ArchiveIntent, checkpoints: CheckpointWriter, old_unet: Architecture
) -> None:
    # Equal bytes at the old key have an equal ETag on S3: only the completion mark tells them from a left-over.
    run_archive(store, planned)
    checkpoints.accelerate(5000, old_unet)
    assert unfinished_archives(store) == []
    assert store.head(f"{OLD}/model.safetensors") is not None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.put(f"{OLD}/new_file.txt", b"x"), "written after"),
        (lambda s: s.put(f"{OLD}/model.safetensors", b"other weights"), "replaced after"),
        (lambda s: s.delete([f"{OLD}/scheduler.bin"]), "is gone"),
    ],
)
def test_a_source_that_changed_since_its_verdict_is_left_alone(
    store: Store, planned: ArchiveIntent, change: Callable[[Store], None], says: str
) -> None:
    change(store)
    before = contents(store)
    with pytest.raises(SourceChangedError, match=says):
        run_archive(store, planned)
    assert contents(store) == before
    assert unfinished_archives(store) == []


class Interfering:
    """Does something the first time that `operation` is called with a key that `at` accepts, before or after it."""

    def __init__(
        self, store: Store, operation: str, at: Callable[[str], bool], act: Callable[[Store], None], *, after: bool
    ) -> None:
        self._store, self._operation, self._at, self._act, self._after = store, operation, at, act, after
        self.acted = False

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._store, name)
        if name != self._operation:
            return original

        def intercepted(*args: Any, **kwargs: Any) -> Any:
            key = getattr(args[0], "key", args[0])
            act = not self.acted and self._at(key)
            self.acted = self.acted or act
            if act and not self._after:
                self._act(self._store)
            result = original(*args, **kwargs)
            if act and self._after:
                self._act(self._store)
            return result

        return intercepted


@pytest.mark.parametrize("target", ["optimizer.bin", "late.txt"])
def test_a_write_during_the_copy_stops_it_with_nothing_deleted(
    store: Store, planned: ArchiveIntent, target: str
) -> None:
    racing = Interfering(store, "copy", lambda _: True, lambda s: s.put(f"{OLD}/{target}", b"newer"), after=True)
    with pytest.raises(SourceChangedError):
        run_archive(racing, planned)
    assert racing.acted
    assert all(store.head(entry.source) is not None for entry in planned.entries)
    assert not is_committed(store, planned)
    assert unfinished_archives(store) == []


def test_a_given_up_archive_is_followed_by_a_fresh_judgement(
    store: Store, planned: ArchiveIntent, wanted: Wanted
) -> None:
    racing = Interfering(store, "copy", lambda _: True, lambda s: s.put(f"{OLD}/late.txt", b"x"), after=True)
    with pytest.raises(SourceChangedError):
        run_archive(racing, planned)
    later = plan_archive(survey(store, wanted).archivable, now=NOW.replace(minute=30))
    run_archive(store, later)
    assert store.read(f"{later.root}{OLD}/late.txt") == b"x"
    assert store.head(f"{OLD}/model.safetensors") is None


def test_an_object_replaced_after_the_commit_is_not_deleted(store: Store, planned: ArchiveIntent) -> None:
    victim = planned.entries[-1].source
    original = store.read(victim)
    racing = Interfering(
        store,
        "delete_unchanged",
        lambda key: key == planned.entries[0].source,
        lambda s: s.put(victim, b"newer"),
        after=True,
    )
    with pytest.raises(SourceChangedError, match="left alone"):
        run_archive(racing, planned)
    assert store.read(victim) == b"newer"
    assert store.read(ROOT + victim) == original
    assert unfinished_archives(store) == [planned]
    store.delete([victim])  # the way out that the message names
    run_archive(store, planned)
    assert unfinished_archives(store) == []


def test_a_copy_that_is_not_equal_is_never_committed(store: Store, planned: ArchiveIntent) -> None:
    entry = next(e for e in planned.entries if e.source == f"{OLD}/model.safetensors")
    wrong = bytes(entry.size)
    lying = Interfering(
        store, "copy", lambda key: key == entry.source, lambda s: s.put(entry.destination, wrong), after=True
    )
    with pytest.raises(ArchiveError, match="not equal") as caught:
        run_archive(lying, planned)
    assert caught.value.reason == "CopyDiffers"
    assert store.head(ROOT + "MANIFEST.json") is None
    assert all(entry.is_unchanged(store.head(entry.source)) for entry in planned.entries)
    run_archive(store, planned)  # the next run copies again
    assert store.read(entry.destination) != wrong


def test_an_archive_that_lost_an_object_deletes_nothing(store: Store, planned: ArchiveIntent) -> None:
    lost = planned.entries[-1].destination
    for harm in (lambda s: s.delete([lost]), lambda s: s.put(lost, bytes(planned.entries[-1].size))):
        harmed = Interfering(store, "create", lambda key: key.endswith("MANIFEST.json"), harm, after=True)
        with pytest.raises(ArchiveError, match="no longer what was archived"):
            run_archive(harmed, planned)
        assert all(entry.is_unchanged(store.head(entry.source)) for entry in planned.entries)
        store.delete([ROOT + "MANIFEST.json"])


def test_a_store_without_checksums_is_verified_by_reading_both(store: Store, planned: ArchiveIntent) -> None:
    class WithoutChecksums:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def checksum(self, _key: str) -> None:
            return None

    before = contents(store)
    manifest = run_archive(WithoutChecksums(), planned)
    assert {item.verified_by for item in manifest.objects} == {"read-back"}
    digest = hashlib.sha256(before[f"{OLD}/model.safetensors"]).hexdigest()
    assert f"sha256-hex:{digest}" in {item.checksum for item in manifest.objects}
    assert contents(store, ROOT + OLD)[f"{ROOT}{OLD}/model.safetensors"] == before[f"{OLD}/model.safetensors"]


def test_a_read_error_during_the_archive_deletes_nothing(store: Store, planned: ArchiveIntent) -> None:
    class Unavailable:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def head(self, key: str) -> Any:
            if key.startswith(ROOT + OLD):
                raise StoreUnavailable("no answer", uri=store.uri, operation="head", key=key, way_out="Later")
            return store.head(key)

    with pytest.raises(StoreUnavailable):
        run_archive(Unavailable(), planned)
    assert all(entry.is_unchanged(store.head(entry.source)) for entry in planned.entries)
    assert unfinished_archives(store) == [planned]


def test_the_same_second_and_label_never_mixes_two_archives(
    store: Store, planned: ArchiveIntent, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    run_archive(store, planned)
    checkpoints.accelerate(6000, old_unet)
    other = plan_archive(survey(store, wanted).archivable, now=NOW)
    with pytest.raises(ArchiveError):
        run_archive(store, other)
    assert store.head("checkpoint-00006000/model.safetensors") is not None


def test_a_broken_intent_stops_everything_and_says_where(store: Store) -> None:
    store.put(ROOT + "INTENT.json", b"{")
    with pytest.raises(ArchiveError, match=ROOT):
        unfinished_archives(store)


def test_big_objects_are_copied_in_parts(
    s3_server: S3Server,
    s3_store: S3Store,
    wanted: Wanted,
    write_tensors: Callable[[Architecture], bytes],
    tmp_path: Path,
) -> None:
    credentials = Credentials(s3_server.access_key, s3_server.secret_key)
    limits = S3Limits(multipart_copy_above=1024**2, copy_part_size=5 * 1024**2)
    prefix = s3_store.uri.partition(f"{s3_server.bucket}/")[2]
    store = S3Store(s3_server.bucket, prefix, endpoint=s3_server.endpoint, credentials=credentials, limits=limits)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(write_tensors(Architecture.from_shapes({"in_layers.weight": (2000, 1500)})))
    store.upload(f"{OLD}/model.safetensors", weights)
    intent = plan_archive(survey(store, wanted).archivable, now=NOW)
    manifest = run_archive(store, intent)
    assert [item.size for item in manifest.objects] == [weights.stat().st_size]
    assert store.read(f"{ROOT}{OLD}/model.safetensors") == weights.read_bytes()
    assert store.head(f"{OLD}/model.safetensors") is None
