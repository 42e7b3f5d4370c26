"""`method: Reference`: the checkpoint stays where it is, and a pointer says that it is archived.

    archive/<name>/MANIFEST.json                     what was archived, and where it lies (the commit)
    checkpoint-archived/<name>/REFERENCE.json        found by the survey's one LIST: these folders are nobody's now
    checkpoint-archived/<name>/RESTORED.json         the pointer no longer holds

Marks are only ever added, so whatever order late writers arrive in, the result is the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.archive_decision import commit, committed, mark
from t2i_checkpoint.archive_documents import (
    MAX_DOCUMENT_BYTES,
    REFERENCES,
    ArchivedObject,
    ArchiveEntry,
    ArchiveIntent,
    ArchiveManifest,
    ArchiveReference,
    SourceChangedError,
    parse_reference,
)
from t2i_checkpoint.archive_list import RESTORED
from t2i_checkpoint.archive_source import expect_source_unchanged
from t2i_checkpoint.store import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2i_checkpoint.store import ObjectInfo, Store

REFERENCE = "REFERENCE.json"


def run_reference(store: Store, intent: ArchiveIntent) -> ArchiveManifest:
    """Archive in place, or finish what another process began; at most five requests, one of them a LIST.

    Raises SourceChangedError if the checkpoint is no longer the one that was judged; it is judged afresh then.
    """
    try:
        expect_source_unchanged(store, intent, gone_is_fine=False)
    except SourceChangedError:
        existing = committed(store, intent)
        if existing is None:
            raise
        if store.head(intent.root + layout.COMPLETED) is None:
            forget_reference(store, existing)
            mark(store, intent.root + layout.COMPLETED)
            raise
        return existing
    manifest = commit(store, intent, _manifest(intent))
    pointer = ArchiveReference(name=intent.name, folders=tuple(folder.folder for folder in intent.folders))
    mark(store, pointer.root + REFERENCE, pointer.to_json())
    mark(store, intent.root + layout.COMPLETED)
    return manifest


def forget_reference(store: Store, manifest: ArchiveManifest) -> None:
    """Let the survey see the folders again. Marked in the archive, too, where people look for it."""
    mark(store, f"{REFERENCES}{manifest.name}/{RESTORED}")
    mark(store, manifest.root + RESTORED)


def intent_of(manifest: ArchiveManifest) -> ArchiveIntent:
    """Return the intent of an archive in place, whose manifest is all that it has."""
    return ArchiveIntent(
        name=manifest.name,
        method=manifest.method,
        created_at=manifest.committed_at,
        folders=manifest.folders,
        entries=tuple(
            ArchiveEntry(
                source=item.source,
                destination=item.destination,
                size=item.size,
                etag=item.etag,
                modified_at=item.modified_at or manifest.committed_at,
            )
            for item in manifest.objects
        ),
    )


def archived_references(store: Store, listing: Iterable[ObjectInfo]) -> frozenset[str]:
    """Return the checkpoint folders that are archived in place; `listing` holds at least everything below REFERENCES.

    No request where there is no reference, one small read for each. Raises ArchiveError for a pointer that cannot be
    believed, StoreError if it cannot be read: nobody then knows which checkpoints may be touched.
    """
    marks: dict[str, set[str]] = {}
    for info in listing:
        if info.key.startswith(REFERENCES):
            name, _, mark = info.key.removeprefix(REFERENCES).partition("/")
            marks.setdefault(name, set()).add(mark)
    return frozenset(
        folder
        for name, found in sorted(marks.items())
        if layout.parse_archive_name(name) is not None and REFERENCE in found and RESTORED not in found
        for folder in _referenced_folders(store, f"{REFERENCES}{name}/{REFERENCE}")
    )


def _referenced_folders(store: Store, key: str) -> tuple[str, ...]:
    try:
        raw = store.read(key, 0, MAX_DOCUMENT_BYTES + 1)
    except NotFound:  # a listing may be older than the bucket
        return ()
    return parse_reference(raw, key).folders


def _manifest(intent: ArchiveIntent) -> ArchiveManifest:
    return ArchiveManifest(
        name=intent.name,
        method=intent.method,
        folders=intent.folders,
        committed_at=datetime.now(UTC),
        objects=tuple(
            ArchivedObject(
                source=entry.source,
                destination=entry.destination,
                size=entry.size,
                etag=entry.etag,
                checksum="",
                modified_at=entry.modified_at,
                verified_by="in-place",
            )
            for entry in intent.entries
        ),
    )
