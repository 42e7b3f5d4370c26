"""Fresh looks at what is archived, and the deletion of what was.

A listing may be older than the bucket (some stores cache it), a HEAD of one key is not: whatever a listing shows that
would stop an archive is looked at again by key, and every single deletion has its own looks at source and archive.
What the archive's documents say is never believed where bytes are at stake: whoever may write them can forge them, so
a process deletes only what it has itself compared with the copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.archive_documents import ArchiveError, SourceChangedError
from t2i_checkpoint.archive_plan import deletion_rank
from t2i_checkpoint.archive_verify import is_still_archived, verify_copy
from t2i_checkpoint.listing import MAX_SEEN, list_bounded
from t2i_checkpoint.parallel import run_all
from t2i_checkpoint.store import NotFound, ObjectChanged

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from t2i_checkpoint.archive_documents import (
        ArchivedFolder,
        ArchivedObject,
        ArchiveEntry,
        ArchiveIntent,
        ArchiveManifest,
    )
    from t2i_checkpoint.archive_progress import ProgressMeter
    from t2i_checkpoint.store import ObjectInfo, Store


def expect_source_unchanged(store: Store, intent: ArchiveIntent, *, gone_is_fine: bool) -> None:
    """Look at everything in the source folders: each listed object as it was, and nothing new."""
    expected = {entry.source: entry for entry in intent.entries}
    seen: set[str] = set()
    for info in listed(store, intent.folders, expected):
        entry = expected.get(info.key)
        if entry is None:
            if store.head(info.key) is None:
                continue
            detail = f"{info.key} was written after the checkpoint was judged; nothing more is deleted here"
            raise SourceChangedError(f"{detail}. Where the archive is already committed, move that file away")
        if entry.is_unchanged(info):
            seen.add(info.key)
    for key in sorted(set(expected) - seen):
        now = store.head(key)
        if now is not None and not expected[key].is_unchanged(now):
            raise SourceChangedError(f"{key} was replaced after the checkpoint was judged; it is left alone")
        if now is None and not gone_is_fine:
            raise SourceChangedError(f"{key} is gone since the checkpoint was judged; nothing was deleted")


def expect_archive_whole(store: Store, manifest: ArchiveManifest) -> None:
    """Look at the archive once more before anything is deleted at the source."""
    copies = {item.destination for item in manifest.objects}
    there = {info.key: info for info in list_bounded(store, manifest.root, MAX_SEEN) if info.key in copies}
    for item in manifest.objects:
        info = there.get(item.destination)
        if info is None or not is_still_archived(store, item, info):
            _expect_archived(store, item)


def compare_with_sources(
    store: Store, intent: ArchiveIntent, manifest: ArchiveManifest, concurrency: int
) -> tuple[ArchivedObject, ...]:
    """Compare all that is left of the source with the archive; returns what was found equal, nothing of it believed.

    Raises ArchiveError if any object differs, before one is deleted. What is gone was deleted by an earlier process.
    """
    archived = {item.source: item for item in manifest.objects}

    def compare(entry: ArchiveEntry) -> ArchivedObject | None:
        info = store.head(entry.source)
        if info is None:
            return None
        if not entry.is_unchanged(info):
            raise SourceChangedError(_replaced(entry))
        try:
            verified = verify_copy(store, info, entry.destination, made_elsewhere=True)
        except (ObjectChanged, NotFound) as error:
            detail = f"{entry.source} could not be compared with its copy: {error}. Nothing was deleted; run again"
            raise ArchiveError("ArchiveUnproven", detail) from error
        if verified is None:
            detail = f"{entry.destination} is committed, but it is not equal to {entry.source}; nothing was deleted"
            raise ArchiveError("ArchiveDamaged", f"{detail}. Remove {intent.root} by hand: its documents are not true")
        kept = {"etag": verified.copied.etag, "checksum": verified.checksum, "verified_by": verified.by}
        return archived[entry.source].model_copy(update=kept)

    return tuple(item for item in run_all(compare, intent.entries, workers=concurrency) if item is not None)


def delete_sources(
    store: Store, intent: ArchiveIntent, copies: Sequence[ArchivedObject], meter: ProgressMeter, concurrency: int
) -> None:
    """Delete exactly what was archived, what makes the folders checkpoints first; raise when anything is unexpected.

    `copies` are what this very process found equal to its source.
    """
    expect_source_unchanged(store, intent, gone_is_fine=True)
    compared = {item.source: item for item in copies}

    def delete(entry: ArchiveEntry) -> None:
        _delete(store, entry, compared.get(entry.source))
        meter.moved(entry.size)
        meter.finished_object()

    for rank in sorted({deletion_rank(entry.source) for entry in intent.entries}):
        run_all(delete, [e for e in intent.entries if deletion_rank(e.source) == rank], workers=concurrency)
    _expect_deleted(store, intent)


def _delete(store: Store, entry: ArchiveEntry, item: ArchivedObject | None) -> None:
    info = store.head(entry.source)
    if info is None:
        return
    if item is None or not entry.is_unchanged(info):
        raise SourceChangedError(_replaced(entry))
    _expect_archived(store, item)
    try:
        store.delete_unchanged(info)
    except ObjectChanged as error:
        raise SourceChangedError(_replaced(entry)) from error


def _replaced(entry: ArchiveEntry) -> str:
    way_out = "Move or delete it, and the archive finishes by itself"
    return f"{entry.source} was replaced after it was archived; it is left alone. {way_out}"


def _expect_archived(store: Store, item: ArchivedObject) -> None:
    info = store.head(item.destination)
    if info is None or not is_still_archived(store, item, info):
        detail = f"{item.destination} is no longer what was archived; nothing more was deleted at the source"
        raise ArchiveError("ArchiveDamaged", detail)


def _expect_deleted(store: Store, intent: ArchiveIntent) -> None:
    """Look whether the deletions took effect: some errors are told by nothing else."""
    expected = {entry.source for entry in intent.entries}
    for info in listed(store, intent.folders, expected):
        if info.key in expected and store.head(info.key) is not None:
            detail = f"{info.key} is still there after its deletion; check the bucket's retention rules, then run again"
            raise ArchiveError("DeletionFailed", detail)


def listed(store: Store, folders: Sequence[ArchivedFolder], sources: Container[str]) -> Iterator[ObjectInfo]:
    """Yield what lies in the folders; one LIST for several of them. A checkpoint that is one file is in `sources`."""
    names = [folder.folder for folder in folders]
    inside = tuple(f"{name}/" for name in names)
    if len(names) > 1 and all(name.startswith(layout.SURVEY_PREFIX) for name in names):
        found = list_bounded(store, layout.SURVEY_PREFIX, MAX_SEEN)
    else:
        prefixes = (name if name in sources else f"{name}/" for name in names)
        found = (info for prefix in prefixes for info in list_bounded(store, prefix, MAX_SEEN))
    return (info for info in found if info.key.startswith(inside) or info.key in names)
