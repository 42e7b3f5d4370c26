"""Copy an archived checkpoint back to where it lay; the archive stays whole.

Nothing is deleted: a deletion that an archiver decided on before it was stopped may arrive at any later time, and
only bytes that nobody ever deletes are safe from it. Every write is create-only, so no checkpoint is ever replaced,
and what makes a folder a checkpoint comes last, so a restore that was killed left no checkpoint; the same call goes on.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint import layout
from t2i_checkpoint.archive import (
    CONCURRENCY,
    ArchiveAbandonedError,
    abandon_archive,
    is_committed,
    run_archive,
    unfinished_archives,
)
from t2i_checkpoint.archive_decision import load_decision, mark
from t2i_checkpoint.archive_documents import ArchiveError, ArchiveManifest
from t2i_checkpoint.archive_list import RESTORED
from t2i_checkpoint.archive_plan import deletion_rank
from t2i_checkpoint.archive_progress import ProgressMeter
from t2i_checkpoint.archive_reference import forget_reference
from t2i_checkpoint.archive_source import expect_archive_whole, listed
from t2i_checkpoint.archive_verify import is_still_archived, verify_copy
from t2i_checkpoint.parallel import run_all
from t2i_checkpoint.store import AlreadyExists, NotFound, ObjectChanged

if TYPE_CHECKING:
    from t2i_checkpoint.archive_documents import ArchivedObject
    from t2i_checkpoint.archive_progress import ProgressCallback
    from t2i_checkpoint.store import ObjectInfo, Store

_NOTES = "uploads/"  # below the archive: the old place may be somebody else's, so own uploads are written down


@dataclass(frozen=True)
class RestoreIntent:
    """What will be copied back; the archive's own manifest is the plan."""

    manifest: ArchiveManifest

    @property
    def name(self) -> str:
        """The archive's name."""
        return self.manifest.name

    @property
    def size_bytes(self) -> int:
        """Sum over all objects."""
        return self.manifest.size_bytes


def plan_restore(store: Store, archive_name: str) -> RestoreIntent:
    """Look at the archive and at the places that its checkpoints lay at; nothing is written.

    Raises ArchiveError: ArchiveNotFound, ArchiveNotCommitted, ArchiveDamaged, or RestoreTargetTaken where something
    else lies at the old place now.
    """
    manifest = _committed_manifest(store, archive_name)
    if manifest.method is ArchiveMethod.REFERENCE:
        _expect_in_place(store, manifest)
        return RestoreIntent(manifest)
    expect_archive_whole(store, manifest)
    _expect_nothing_else(store, manifest)
    return RestoreIntent(manifest)


def run_restore(
    store: Store,
    intent: RestoreIntent,
    on_progress: ProgressCallback | None = None,
    *,
    concurrency: int = CONCURRENCY,
) -> None:
    """Carry a restore out, or finish what a killed one began; the same call may be repeated.

    Raises ArchiveError or StoreError; the archive is whole in every case.
    """
    manifest = intent.manifest
    if manifest.method is ArchiveMethod.REFERENCE:
        _expect_in_place(store, manifest)
        forget_reference(store, manifest)
        return
    _settle_archives(store, manifest, concurrency)
    _expect_nothing_else(store, manifest)
    meter = ProgressMeter("Restoring", on_progress, objects=len(manifest.objects), size_bytes=manifest.size_bytes)
    notes = f"{manifest.root}{_NOTES}"
    for rank in sorted({deletion_rank(item.source) for item in manifest.objects}, reverse=True):
        items = [item for item in manifest.objects if deletion_rank(item.source) == rank]
        run_all(lambda item: _restore(store, item, notes, meter), items, workers=concurrency)
    store.end_noted_uploads(notes, [item.source for item in manifest.objects])
    mark(store, manifest.root + RESTORED)


def _committed_manifest(store: Store, name: str) -> ArchiveManifest:
    if layout.parse_archive_name(name) is None:
        raise ArchiveError("ArchiveNotFound", f"{name!r} is no archive name; they look like 20251214T221758Z-label")
    decision = load_decision(store, name)
    if isinstance(decision, ArchiveManifest):
        return decision
    if decision is not None or store.head(f"{layout.ARCHIVE}{name}/{layout.INTENT}") is not None:
        detail = f"{name} was never committed: its checkpoint was left where it was, nothing has to be restored"
        raise ArchiveError("ArchiveNotCommitted", detail)
    raise ArchiveError("ArchiveNotFound", f"there is no archive {name} below {store.uri}; list them to see the names")


def _settle_archives(store: Store, manifest: ArchiveManifest, concurrency: int) -> None:
    """End every archive of these folders that is under way: whoever finished it later would delete what comes back."""
    folders = {folder.folder for folder in manifest.folders}
    for intent in unfinished_archives(store):
        if folders & {folder.folder for folder in intent.folders}:
            with contextlib.suppress(ArchiveAbandonedError):
                if is_committed(store, intent) or abandon_archive(store, intent, f"{manifest.name} is restored"):
                    run_archive(store, intent, concurrency=concurrency)


def _expect_nothing_else(store: Store, manifest: ArchiveManifest) -> None:
    """Look whether the old places are free of everything but what was archived."""
    expected = {item.source: item.size for item in manifest.objects}
    for info in listed(store, manifest.folders, expected):
        if info.size == expected.get(info.key):
            continue
        now = store.head(info.key)  # a listing may be older than the bucket
        if now is not None and now.size != expected.get(info.key):
            _raise_taken(info.key)


def _restore(store: Store, item: ArchivedObject, notes: str, meter: ProgressMeter) -> None:
    archived = store.head(item.destination)
    if archived is None or not is_still_archived(store, item, archived):
        _raise_damaged(item.destination)
    if store.head(item.source) is None:
        try:
            store.copy(
                item.destination,
                item.source,
                source_etag=archived.etag,
                create_only=True,
                notes=notes,
                listener=meter,
            )
        except AlreadyExists:
            meter.found(item.size)  # an answer that was lost, or another process; the bytes decide
        except (ObjectChanged, NotFound):
            _raise_damaged(item.destination)
    else:
        meter.found(item.size)
    if not _is_equal(store, archived, item.source):
        _raise_taken(item.source)
    meter.finished_object()


def _is_equal(store: Store, archived: ObjectInfo, key: str) -> bool:
    try:
        return verify_copy(store, archived, key) is not None
    except (ObjectChanged, NotFound):
        return False


def _expect_in_place(store: Store, manifest: ArchiveManifest) -> None:
    """Look whether everything that was archived in place is still there."""
    there = {info.key: info for info in listed(store, manifest.folders, {item.source for item in manifest.objects})}
    for item in manifest.objects:
        info = there.get(item.source)
        if info is None or (info.size, info.etag) != (item.size, item.etag):
            info = store.head(item.source)
        if info is None or (info.size, info.etag) != (item.size, item.etag):
            _raise_damaged(item.source)


def _raise_damaged(key: str) -> NoReturn:
    raise ArchiveError("ArchiveDamaged", f"{key} is no longer what was archived; nothing was replaced or deleted")


def _raise_taken(key: str) -> NoReturn:
    detail = f"{key} is there and is not what was archived; it is left alone. Move it away, then restore again"
    raise ArchiveError("RestoreTargetTaken", detail)
