"""Whoever may write below `archive/` can write any document and any bytes there: no checkpoint is deleted for it."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint import layout
from t2i_checkpoint.archive import (
    ArchiveError,
    ArchiveIntent,
    ArchiveManifest,
    plan_archive,
    run_archive,
    unfinished_archives,
)
from t2i_checkpoint.archive_documents import ArchivedFolder, ArchivedObject, ArchiveEntry
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.restore import plan_restore, run_restore
from t2i_checkpoint.verdict import Wanted
from t2i_dev.contents import contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.s3 import S3Store
    from t2i_checkpoint.store import ObjectInfo, Store

NAME = "20251214T221758Z-forged"
ROOT = f"archive/{NAME}/"
NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)


def forged_intent(folder: str, objects: list[ObjectInfo]) -> ArchiveIntent:
    """What a listing is enough for: everything about the sources is true."""
    return ArchiveIntent(
        name=NAME,
        created_at=NOW,
        folders=(ArchivedFolder(folder=folder, step=1, verdict="foreign", reason="Forged", explanation=""),),
        entries=tuple(
            ArchiveEntry(
                source=info.key,
                destination=ROOT + info.key,
                size=info.size,
                etag=info.etag,
                modified_at=info.modified_at,
            )
            for info in objects
        ),
    )


def forged_commit(store: Store, intent: ArchiveIntent, **changes: Any) -> ArchiveManifest:
    """Return a manifest that tells of the copies exactly what lies there."""
    objects = []
    for entry in intent.entries:
        copied = store.head(entry.destination)
        assert copied is not None
        values = {"modified_at": entry.modified_at, "checksum": str(store.checksum(entry.destination)), **changes}
        objects.append(
            ArchivedObject(
                source=entry.source,
                destination=entry.destination,
                size=entry.size,
                etag=copied.etag,
                verified_by="checksum",
                **values,
            )
        )
    return ArchiveManifest(name=NAME, folders=intent.folders, committed_at=NOW, objects=tuple(objects))


@pytest.fixture
def good(checkpoints: CheckpointWriter, wanted: Wanted) -> list[ObjectInfo]:
    """A checkpoint that the job could resume from."""
    folder = checkpoints.own(1, wanted.architecture)
    found = survey(checkpoints.store, wanted).resumable
    assert found is not None
    assert found.folder == folder
    return list(checkpoints.store.list(f"{folder}/"))


def folder_of(objects: list[ObjectInfo]) -> str:
    found = layout.folder_of(objects[0].key)
    assert found is not None
    return found.folder


def forge(store: Store, objects: list[ObjectInfo], copied: Callable[[ObjectInfo], bytes], **changes: Any) -> None:
    intent = forged_intent(folder_of(objects), objects)
    for info in objects:
        store.put(ROOT + info.key, copied(info))
    store.put(ROOT + "INTENT.json", intent.to_json())
    store.put(ROOT + "MANIFEST.json", forged_commit(store, intent, **changes).to_json())


def garbage(info: ObjectInfo) -> bytes:
    return bytes(info.size)


def test_a_forged_archive_full_of_garbage_deletes_no_checkpoint(
    store: Store, good: list[ObjectInfo], wanted: Wanted
) -> None:
    before = contents(store, layout.CHECKPOINTS)
    forge(store, good, garbage)
    with pytest.raises(ArchiveError, match=r"not equal to .* nothing was deleted\. Remove archive/") as caught:
        finish_archives(store, wanted)
    assert caught.value.reason == "ArchiveDamaged"
    assert contents(store, layout.CHECKPOINTS) == before
    assert survey(store, wanted).resumable is not None


def test_one_wrong_copy_among_true_ones_spares_every_object(
    store: Store, good: list[ObjectInfo], wanted: Wanted
) -> None:
    before = contents(store, layout.CHECKPOINTS)
    last = max(info.key for info in good)
    forge(store, good, lambda info: garbage(info) if info.key == last else store.read(info.key))
    with pytest.raises(ArchiveError, match="not equal"):
        finish_archives(store, wanted)
    assert contents(store, layout.CHECKPOINTS) == before


def test_a_restore_of_the_same_checkpoint_does_not_finish_a_forged_archive(
    store: Store, checkpoints: CheckpointWriter, old_unet: Architecture, wanted: Wanted
) -> None:
    folder = checkpoints.accelerate(5000, old_unet)
    archived = [info.key for info in store.list(f"{folder}/")]
    true = run_archive(store, plan_archive(survey(store, wanted).archivable, now=NOW, label="true"))
    run_restore(store, plan_restore(store, true.name))
    forge(store, list(store.list(f"{folder}/")), garbage)
    with pytest.raises(ArchiveError, match="not equal"):
        run_restore(store, plan_restore(store, true.name))
    assert [info.key for info in store.list(f"{folder}/")] == archived


@pytest.mark.parametrize("changes", [{"modified_at": NOW - timedelta(days=1)}])
def test_a_commit_that_speaks_of_another_source_is_not_that_of_the_intent(
    store: Store, good: list[ObjectInfo], wanted: Wanted, changes: dict[str, Any]
) -> None:
    before = contents(store, layout.CHECKPOINTS)
    forge(store, good, lambda info: store.read(info.key), **changes)
    with pytest.raises(ArchiveError, match=r"does not list what INTENT\.json"):
        finish_archives(store, wanted)
    assert contents(store, layout.CHECKPOINTS) == before


class Exchanging:
    """Does something right before the archive is looked at for the last time."""

    def __init__(self, store: Store, act: Callable[[], object]) -> None:
        self._store, self._act = store, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def head(self, key: str) -> ObjectInfo | None:
        if key.endswith("COMPLETED.json"):
            self._act()
        return self._store.head(key)


@pytest.mark.parametrize("exchanged", [True, False])
def test_an_intent_that_was_exchanged_or_removed_is_not_carried_out(
    store: Store, checkpoints: CheckpointWriter, old_unet: Architecture, *, exchanged: bool
) -> None:
    folder = checkpoints.accelerate(5000, old_unet)
    before = contents(store, folder)
    intent = forged_intent(folder, list(store.list(f"{folder}/")))
    other = intent.model_copy(update={"created_at": NOW + timedelta(seconds=1)})

    def exchange() -> None:
        if exchanged:
            store.put(ROOT + "INTENT.json", other.to_json())
        else:
            store.delete([ROOT + "INTENT.json"])

    with pytest.raises(ArchiveError, match=r"INTENT\.json is (no longer|gone).* nothing \(more\) was deleted"):
        run_archive(Exchanging(store, exchange), intent)
    assert contents(store, folder) == before


@pytest.mark.usefixtures("good")
def test_a_forged_intent_moves_no_checkpoint_that_is_still_being_written(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    # Its trainer would commit a manifest of files that have just been taken away.
    folder = checkpoints.files("checkpoints/step-00000002-w2", {"optimizer.safetensors": b"so far"})
    intent = forged_intent(folder, list(store.list(f"{folder}/")))
    store.put(ROOT + "INTENT.json", intent.to_json())
    before = contents(store, layout.CHECKPOINTS)
    assert finish_archives(store, wanted) == ()
    assert contents(store, layout.CHECKPOINTS) == before
    assert unfinished_archives(store) == []


def test_forged_bytes_at_the_place_of_a_copy_are_copied_over(
    store: Store, checkpoints: CheckpointWriter, old_unet: Architecture, wanted: Wanted
) -> None:
    folder = checkpoints.accelerate(5000, old_unet)
    before = contents(store, folder)
    intent = forged_intent(folder, list(store.list(f"{folder}/")))
    for entry in intent.entries:
        store.put(entry.destination, bytes(entry.size))
    store.put(ROOT + "INTENT.json", intent.to_json())
    finish_archives(store, wanted)
    assert {key: store.read(ROOT + key) for key in before} == before


def with_crc(size: int, wanted: int) -> bytes:
    """Return `size` bytes with the CRC32 `wanted`: CRCs are linear, so four bytes at the end reach any value."""
    start = bytes(size - 4)
    base = zlib.crc32(start + bytes(4))
    rows = [zlib.crc32(start + (1 << bit).to_bytes(4, "little")) ^ base for bit in range(32)]
    # Solve over GF(2): which of the last 32 bits have to be set.
    basis: dict[int, tuple[int, int]] = {}
    for bit, row in enumerate(rows):
        value, used = row, 1 << bit
        while value and (top := value.bit_length()) in basis:
            value, used = value ^ basis[top][0], used ^ basis[top][1]
        if value:
            basis[value.bit_length()] = value, used
    left, tail = base ^ wanted, 0
    while left:
        value, used = basis[left.bit_length()]
        left, tail = left ^ value, tail ^ used
    return start + tail.to_bytes(4, "little")


def test_forged_bytes_with_the_very_crc_of_the_source_are_found_out(
    s3_store: S3Store,
    writer_of: Callable[[Store], CheckpointWriter],
    wanted: Wanted,
    old_unet: Architecture,
    tmp_path: Path,
) -> None:
    store, file = s3_store, tmp_path / "file"
    folder = writer_of(store).accelerate(5000, old_unet)
    weights = f"{folder}/model.safetensors"
    file.write_bytes(store.read(weights))
    store.upload(weights, file)  # as trainers write big files: with a CRC32
    before = contents(store, folder)
    intent = forged_intent(folder, list(store.list(f"{folder}/")))
    for key, true in before.items():
        file.write_bytes(true if key != weights else with_crc(len(true), zlib.crc32(true)))
        store.upload(ROOT + key, file)
    assert store.checksum(ROOT + weights) == store.checksum(weights)
    assert store.read(ROOT + weights) != before[weights]
    store.put(ROOT + "INTENT.json", intent.to_json())
    store.put(ROOT + "MANIFEST.json", forged_commit(store, intent).to_json())
    with pytest.raises(ArchiveError, match="not equal"):
        finish_archives(store, wanted)
    assert contents(store, folder) == before


def test_where_moving_is_not_safe_any_more_nothing_that_was_begun_is_deleted(
    store: Store, checkpoints: CheckpointWriter, old_unet: Architecture, wanted: Wanted
) -> None:
    folder = checkpoints.accelerate(5000, old_unet)
    before = contents(store, folder)
    objects = list(store.list(f"{folder}/"))
    store.put(ROOT + "INTENT.json", forged_intent(folder, objects).to_json())
    why = "ignores If-Match on DELETE"
    assert finish_archives(store, wanted, why_not_move=lambda: [why]) == ()
    assert unfinished_archives(store) == []  # given up
    for info in list(store.list(ROOT)):
        store.delete([info.key])
    forge(store, objects, lambda info: store.read(info.key))
    assert finish_archives(store, wanted, why_not_move=lambda: [why]) == ()
    assert contents(store, folder) == before
    assert len(finish_archives(store, wanted, why_not_move=list)) == 1
    assert contents(store, folder) == {}
