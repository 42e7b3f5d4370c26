"""Put checkpoints away: whole at the source or whole in the archive at every instant.

    intent -> copy -> verify -> commit -> delete -> completed

Every arrow may be the last thing a process does, and any process can go on from there: each step looks first and
repeats harmlessly. Nothing is deleted before the archive's manifest is committed, nothing without a fresh look at
source and archive, nothing that the intent does not list, nothing that the deleting process did not itself compare with
its copy, and nothing at all once a look shows something unexpected.
`COMPLETED.json` keeps a finished archive from ever deleting what somebody puts back later. The steps are in
`archive_copy.py`, `archive_decision.py` and `archive_source.py`; `method: Reference` is in `archive_reference.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint import layout
from t2i_checkpoint.archive_copy import copy_all
from t2i_checkpoint.archive_decision import (
    ArchiveAbandonedError,
    abandon_archive,
    commit,
    committed,
    expect_recorded,
    is_committed,
    load_decision,
    load_intent,
    mark,
    record_intent,
)
from t2i_checkpoint.archive_documents import (
    ArchiveAbandonment,
    ArchiveError,
    ArchiveIntent,
    ArchiveManifest,
    SourceChangedError,
)
from t2i_checkpoint.archive_list import archive_marks
from t2i_checkpoint.archive_plan import plan_archive
from t2i_checkpoint.archive_progress import ArchiveProgress, ProgressCallback, ProgressMeter
from t2i_checkpoint.archive_reference import intent_of, run_reference
from t2i_checkpoint.archive_source import (
    compare_with_sources,
    delete_sources,
    expect_archive_whole,
    expect_source_unchanged,
)
from t2i_checkpoint.listing import MAX_KEPT

if TYPE_CHECKING:
    from t2i_checkpoint.archive_documents import ArchivedObject
    from t2i_checkpoint.store import Store

__all__ = [
    "ArchiveAbandonedError",
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

CONCURRENCY = 8  # objects at once
_MAX_UNFINISHED = 1000


def run_archive(
    store: Store, intent: ArchiveIntent, on_progress: ProgressCallback | None = None, *, concurrency: int = CONCURRENCY
) -> ArchiveManifest:
    """Carry an archive out, or finish what another process began. `on_progress` is called from several threads in turn.

    Raises SourceChangedError if the checkpoint is no longer the one that was judged (before the commit the archive is
    then given up, and a new survey judges afresh), ArchiveError if copies do not verify, StoreError if the store
    fails. In every case the checkpoint is whole at the source or in the archive, and the same call may be repeated.
    """
    if intent.method is ArchiveMethod.REFERENCE:
        return run_reference(store, intent)
    manifest, copies = committed(store, intent), None
    if manifest is None:
        manifest, copies = _copy_and_commit(store, intent, on_progress, concurrency)
    if store.head(intent.root + layout.COMPLETED) is None:
        expect_recorded(store, intent)
        expect_archive_whole(store, manifest)
        if copies is None:
            copies = compare_with_sources(store, intent, manifest, concurrency)
        meter = ProgressMeter("Deleting", on_progress, objects=len(intent.entries), size_bytes=intent.size_bytes)
        delete_sources(store, intent, copies, meter, concurrency)
        store.abort_uploads(intent.root)  # of a second archiver that was killed
        mark(store, intent.root + layout.COMPLETED)
    return manifest


def _copy_and_commit(
    store: Store, intent: ArchiveIntent, on_progress: ProgressCallback | None, concurrency: int
) -> tuple[ArchiveManifest, tuple[ArchivedObject, ...] | None]:
    """Return the commit, and what was copied and verified here; None if another process committed."""
    try:
        expect_source_unchanged(store, intent, gone_is_fine=False)
        record_intent(store, intent)
        meter = ProgressMeter("Copying", on_progress, objects=len(intent.entries), size_bytes=intent.size_bytes)
        objects = copy_all(store, intent, meter, concurrency)
        expect_source_unchanged(store, intent, gone_is_fine=False)
        manifest = ArchiveManifest(
            name=intent.name, folders=intent.folders, committed_at=datetime.now(UTC), objects=objects
        )
        return commit(store, intent, manifest), objects
    except ArchiveAbandonedError:
        raise
    except SourceChangedError as error:
        # Another process may have committed and begun to delete between our looks.
        existing = committed(store, intent) or abandon_archive(store, intent, error.detail)
        if existing is None:
            raise
        return existing, None


def unfinished_archives(store: Store) -> list[ArchiveIntent]:
    """Return the intents that some process began and none has finished, oldest first; one LIST and a read each.

    Raises ArchiveError for an intent that cannot be believed, and for so many that nobody has begun them.
    """
    found: list[ArchiveIntent] = []
    objects = 0
    for name, marks in sorted(archive_marks(store).items()):
        if layout.COMPLETED in marks or not marks & {layout.INTENT, layout.MANIFEST}:
            continue
        decision = load_decision(store, name) if layout.MANIFEST in marks else None
        if layout.ABANDONED in marks and not isinstance(decision, ArchiveManifest):
            continue
        if isinstance(decision, ArchiveManifest) and decision.method is ArchiveMethod.REFERENCE:
            found.append(intent_of(decision))
        elif isinstance(decision, ArchiveAbandonment) and layout.INTENT not in marks:
            continue
        else:
            found.append(load_intent(store, name))
        objects += len(found[-1].entries)
        if objects > MAX_KEPT or len(found) > _MAX_UNFINISHED:
            where = f"{store.uri}/{layout.ARCHIVE}"
            detail = f"{len(found)} unfinished archives and more below {where} list {objects:,} objects: too many"
            way_out = f"Nothing was deleted. Remove each {layout.INTENT} there that is nobody's plan"
            raise ArchiveError("TooManyObjects", f"{detail}. {way_out}")
    return found
