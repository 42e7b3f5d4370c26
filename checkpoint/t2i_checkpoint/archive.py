"""Move checkpoints into `archive/`: whole at the source or whole in the archive at every instant.

    intent -> copy -> verify -> commit -> delete -> completed

Every arrow may be the last thing a process does, and any process can go on from there: each step looks first and
repeats harmlessly. Nothing is deleted before the archive's manifest is committed, nothing without a fresh look at
source and archive, nothing that the intent does not list, and nothing at all once a look shows something unexpected.
`COMPLETED.json` keeps a finished archive from ever deleting what somebody puts back later.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.archive_plan import (
    MAX_DOCUMENT_BYTES,
    ArchivedObject,
    ArchiveEntry,
    ArchiveError,
    ArchiveIntent,
    ArchiveManifest,
    SourceChangedError,
    parse_archive_manifest,
    parse_intent,
    plan_archive,
)
from t2i_checkpoint.archive_progress import ArchiveProgress, ProgressCallback
from t2i_checkpoint.store import AlreadyExists, NotFound, ObjectChanged, ObjectInfo, content_sha256

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store

__all__ = [
    "ArchiveError",
    "ArchiveIntent",
    "ArchiveManifest",
    "ArchiveProgress",
    "ProgressCallback",
    "SourceChangedError",
    "abandon_archive",
    "is_committed",
    "plan_archive",
    "run_archive",
    "unfinished_archives",
]


def unfinished_archives(store: Store) -> list[ArchiveIntent]:
    """Return the intents that some process began and none has finished, oldest first; one LIST and a read each.

    Raises ArchiveError for an intent that cannot be believed.
    """
    marks: dict[str, set[str]] = {}
    for info in store.list(layout.ARCHIVE):
        name, _, rest = info.key.removeprefix(layout.ARCHIVE).partition("/")
        if rest in {layout.INTENT, layout.MANIFEST, layout.COMPLETED, layout.ABANDONED}:
            marks.setdefault(name, set()).add(rest)
    return [
        _load_intent(store, f"{layout.ARCHIVE}{name}/{layout.INTENT}")
        for name, found in sorted(marks.items())
        if layout.INTENT in found
        and layout.COMPLETED not in found
        # A commit outlives the decision to give up: what it lists may already be deleted at the source.
        and (layout.MANIFEST in found or layout.ABANDONED not in found)
    ]


def run_archive(store: Store, intent: ArchiveIntent, on_progress: ProgressCallback | None = None) -> ArchiveManifest:
    """Carry an archive out, or finish what another process began.

    Raises SourceChangedError if the checkpoint is no longer the one that was judged (before the commit the archive is
    then given up, and a new survey judges afresh), ArchiveError if copies do not verify, StoreError if the store
    fails. In every case the checkpoint is whole at the source or in the archive, and the same call may be repeated.
    """
    report = on_progress or (lambda _progress: None)
    manifest = _load_manifest(store, intent)
    if manifest is None:
        try:
            _expect_source_unchanged(store, intent, gone_is_fine=False)
            _record_intent(store, intent)
            objects = _copy_all(store, intent, report)
            _expect_source_unchanged(store, intent, gone_is_fine=False)
            manifest = _commit(store, intent, objects)
        except SourceChangedError as error:
            # Another process may have committed and begun to delete between our looks.
            manifest = _load_manifest(store, intent)
            if manifest is None:
                abandon_archive(store, intent, error.detail)
                raise
    _expect_archive_whole(store, manifest)
    _delete_sources(store, intent, report)
    _mark(store, intent, layout.COMPLETED, b"{}\n")
    return manifest


def _expect_source_unchanged(store: Store, intent: ArchiveIntent, *, gone_is_fine: bool) -> None:
    """Look at everything in the source folders: each listed object as it was, and nothing new."""
    expected = {entry.source: entry for entry in intent.entries}
    seen: set[str] = set()
    for folder in intent.folders:
        for info in store.list(f"{folder.folder}/"):
            entry = expected.get(info.key)
            if entry is None:
                detail = f"{info.key} was written after the checkpoint was judged; nothing more is deleted here"
                raise SourceChangedError(f"{detail}. Where the archive is already committed, move that file away")
            if not entry.is_unchanged(info):
                raise SourceChangedError(f"{info.key} was replaced after the checkpoint was judged; it is left alone")
            seen.add(info.key)
    gone = sorted(set(expected) - seen)
    if gone and not gone_is_fine:
        raise SourceChangedError(f"{gone[0]} is gone since the checkpoint was judged; nothing was deleted")


def _record_intent(store: Store, intent: ArchiveIntent) -> None:
    key = intent.root + layout.INTENT
    try:
        store.create(key, intent.to_json())
    except AlreadyExists:
        if _load_intent(store, key) != intent:
            detail = f"{key} is of another archive with the same name; finish that one first, then try again"
            raise ArchiveError("ArchiveNameTaken", detail) from None


def _copy_all(store: Store, intent: ArchiveIntent, report: ProgressCallback) -> tuple[ArchivedObject, ...]:
    objects: list[ArchivedObject] = []
    done = 0
    for entry in intent.entries:
        # A copy that an earlier process made counts only if the checksums say so without reading it.
        objects.append(_verified_by_checksum(store, entry) or _copy(store, entry))
        done += entry.size
        report(ArchiveProgress("Copying", len(objects), len(intent.entries), done, intent.size_bytes))
    return tuple(objects)


def _copy(store: Store, entry: ArchiveEntry) -> ArchivedObject:
    try:
        store.copy(entry.source, entry.destination, source_etag=entry.etag)
    except (ObjectChanged, NotFound) as error:
        raise SourceChangedError(f"{entry.source} changed while it was copied; nothing was deleted") from error
    verified = _verified_by_checksum(store, entry) or _verified_by_reading(store, entry)
    if verified is None:
        detail = f"{entry.destination} is not equal to {entry.source} after copying; nothing was deleted; run again"
        raise ArchiveError("CopyDiffers", detail)
    return verified


def _verified_by_checksum(store: Store, entry: ArchiveEntry) -> ArchivedObject | None:
    copied = store.head(entry.destination)
    if copied is None or copied.size != entry.size:
        return None
    checksum = store.checksum(entry.destination)
    if checksum is None or checksum != store.checksum(entry.source):
        return None
    return _archived(entry, copied, str(checksum), "checksum")


def _verified_by_reading(store: Store, entry: ArchiveEntry) -> ArchivedObject | None:
    copied = store.head(entry.destination)
    if copied is None or copied.size != entry.size:
        return None
    source = ObjectInfo(entry.source, entry.size, entry.etag, entry.modified_at)
    try:
        expected = content_sha256(store, source)
    except (ObjectChanged, NotFound) as error:
        raise SourceChangedError(f"{entry.source} changed while it was verified; nothing was deleted") from error
    if content_sha256(store, copied) != expected:
        return None
    return _archived(entry, copied, _SHA256_HEX + expected, "read-back")


def _archived(entry: ArchiveEntry, copied: ObjectInfo, checksum: str, verified_by: str) -> ArchivedObject:
    return ArchivedObject.model_validate(
        {
            "source": entry.source,
            "destination": entry.destination,
            "size": entry.size,
            "etag": copied.etag,
            "checksum": checksum,
            "verified_by": verified_by,
        }
    )


_SHA256_HEX = "sha256-hex:"


def _commit(store: Store, intent: ArchiveIntent, objects: tuple[ArchivedObject, ...]) -> ArchiveManifest:
    manifest = ArchiveManifest(
        name=intent.name, folders=intent.folders, committed_at=datetime.now(UTC), objects=objects
    )
    try:
        store.create(intent.root + layout.MANIFEST, manifest.to_json())
    except AlreadyExists:
        # Ours with a lost answer, or another process's: either way it was written after a complete verification.
        existing = _load_manifest(store, intent)
        if existing is None:
            raise
        return existing
    return manifest


def _expect_archive_whole(store: Store, manifest: ArchiveManifest) -> None:
    """Look at the archive once more before anything is deleted at the source."""
    there = {info.key: info for info in store.list(manifest.root)}
    for item in manifest.objects:
        info = there.get(item.destination)
        if info is None or info.size != item.size or not _still_verified(store, item, info):
            detail = f"{item.destination} is no longer what was archived; nothing more was deleted at the source"
            raise ArchiveError("ArchiveDamaged", detail)


def _still_verified(store: Store, item: ArchivedObject, info: ObjectInfo) -> bool:
    if info.etag == item.etag:
        return True
    # A second archiver may have copied the same bytes again.
    if item.checksum.startswith(_SHA256_HEX):
        return _SHA256_HEX + content_sha256(store, info) == item.checksum
    return str(store.checksum(item.destination)) == item.checksum


def _delete_sources(store: Store, intent: ArchiveIntent, report: ProgressCallback) -> None:
    _expect_source_unchanged(store, intent, gone_is_fine=True)
    done = 0
    for count, entry in enumerate(intent.entries, start=1):
        info = store.head(entry.source)
        if info is not None:
            if not entry.is_unchanged(info):
                raise SourceChangedError(
                    f"{entry.source} was replaced after it was archived; it is left alone. "
                    "Move or delete it, and the archive finishes by itself"
                )
            store.delete([entry.source])
        done += entry.size
        report(ArchiveProgress("Deleting", count, len(intent.entries), done, intent.size_bytes))


def is_committed(store: Store, intent: ArchiveIntent) -> bool:
    """Whether the archive is already the checkpoint, so that only deletions are left."""
    return _load_manifest(store, intent) is not None


def abandon_archive(store: Store, intent: ArchiveIntent, why: str) -> None:
    """Mark an intent, if it was recorded, as not to be finished; the copies that were made stay.

    A commit outlives the mark: what is committed is always finished.
    """
    if store.head(intent.root + layout.INTENT) is not None:
        _mark(store, intent, layout.ABANDONED, (json.dumps({"why": why}) + "\n").encode())


def _mark(store: Store, intent: ArchiveIntent, name: str, content: bytes) -> None:
    try:
        store.create(intent.root + name, content)
    except AlreadyExists:
        return


def _load_intent(store: Store, key: str) -> ArchiveIntent:
    return parse_intent(store.read(key, 0, MAX_DOCUMENT_BYTES + 1), key)


def _load_manifest(store: Store, intent: ArchiveIntent) -> ArchiveManifest | None:
    key = intent.root + layout.MANIFEST
    if store.head(key) is None:
        return None
    manifest = parse_archive_manifest(store.read(key, 0, MAX_DOCUMENT_BYTES + 1), key)
    planned = {(entry.source, entry.size) for entry in intent.entries}
    if {(item.source, item.size) for item in manifest.objects} != planned:
        raise ArchiveError("ArchiveInvalid", f"{key} does not list what {layout.INTENT} beside it does; check by hand")
    return manifest
