"""The marks of an archive: intent, decision, completion; each a create-only object that is never changed or deleted.

`MANIFEST.json` decides. Committing and giving up compete for that one key, so however late a stopped process goes on,
an archive that was given up is never committed, and one that was committed is always finished.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.archive_documents import (
    MAX_DOCUMENT_BYTES,
    ArchiveAbandonment,
    ArchiveError,
    ArchiveManifest,
    SourceChangedError,
    parse_decision,
    parse_intent,
)
from t2i_checkpoint.store import AlreadyExists, NotFound, create_or_confirm

if TYPE_CHECKING:
    from t2i_checkpoint.archive_documents import ArchiveIntent
    from t2i_checkpoint.store import Store


class ArchiveAbandonedError(SourceChangedError):
    """The archive was given up before its commit; the checkpoint is judged afresh."""


def record_intent(store: Store, intent: ArchiveIntent) -> None:
    """Write `INTENT.json`. Raises ArchiveError where another archive has the name."""
    key = intent.root + layout.INTENT
    try:
        store.create(key, intent.to_json())
    except AlreadyExists:
        if load_intent(store, intent.name) != intent:
            detail = f"{key} is of another archive with the same name; finish that one first, then try again"
            raise ArchiveError("ArchiveNameTaken", detail) from None


def load_intent(store: Store, name: str) -> ArchiveIntent:
    """Read `INTENT.json` of the archive `name`. Raises ArchiveError and NotFound."""
    key = f"{layout.ARCHIVE}{name}/{layout.INTENT}"
    return parse_intent(store.read(key, 0, MAX_DOCUMENT_BYTES + 1), key)


def load_decision(store: Store, name: str) -> ArchiveManifest | ArchiveAbandonment | None:
    """Read `MANIFEST.json` of the archive `name`, or None while nothing is decided. Raises ArchiveError."""
    key = f"{layout.ARCHIVE}{name}/{layout.MANIFEST}"
    try:
        return parse_decision(store.read(key, 0, MAX_DOCUMENT_BYTES + 1), key)
    except NotFound:
        return None


def committed(store: Store, intent: ArchiveIntent) -> ArchiveManifest | None:
    """Return the commit of `intent`, or None while there is none. Raises ArchiveAbandonedError if it was given up."""
    decision = load_decision(store, intent.name)
    if decision is None and store.head(intent.root + layout.ABANDONED) is not None:
        decision = ArchiveAbandonment(name=intent.name, why="an earlier version of this program gave it up")
    if decision is None:
        return None
    if isinstance(decision, ArchiveAbandonment):
        # Whoever gave it up may have been killed before this mark.
        mark(store, intent.root + layout.ABANDONED, _why(decision.why))
        raise ArchiveAbandonedError(f"{intent.root} was given up: {decision.why}")
    if not _is_commit_of(intent, decision):
        key = intent.root + layout.MANIFEST
        detail = f"{key} does not list what {layout.INTENT} beside it does; nothing was deleted; check by hand"
        raise ArchiveError("ArchiveInvalid", detail)
    return decision


def expect_recorded(store: Store, intent: ArchiveIntent) -> None:
    """Look whether `INTENT.json` still is the intent that is carried out: whoever replaced it may have forged more."""
    key = intent.root + layout.INTENT
    try:
        recorded = load_intent(store, intent.name)
    except NotFound:
        recorded = None
    if recorded != intent:
        what = "is gone" if recorded is None else "is no longer the intent that is being carried out"
        raise ArchiveError("ArchiveInvalid", f"{key} {what}; nothing (more) was deleted at the source; check by hand")


def _is_commit_of(intent: ArchiveIntent, decision: ArchiveManifest) -> bool:
    written = {entry.source: entry.modified_at for entry in intent.entries}
    planned = {(entry.source, entry.size, entry.modified_at) for entry in intent.entries}
    # Older manifests do not say when the source was written.
    listed = {(each.source, each.size, each.modified_at or written.get(each.source)) for each in decision.objects}
    return decision.method is intent.method and decision.folders == intent.folders and listed == planned


def commit(store: Store, intent: ArchiveIntent, manifest: ArchiveManifest) -> ArchiveManifest:
    """Decide for the archive; returns what was decided first. Raises ArchiveAbandonedError if it was given up."""
    try:
        store.create(intent.root + layout.MANIFEST, manifest.to_json())
    except AlreadyExists:
        # Ours with a lost answer, or another process's: either way it was written after a complete verification.
        existing = committed(store, intent)
        if existing is None:
            raise
        return existing
    return manifest


def abandon_archive(store: Store, intent: ArchiveIntent, why: str) -> ArchiveManifest | None:
    """Decide that an intent, if it was recorded, is not to be finished; the copies that were made stay.

    Returns the manifest if the archive turns out to be committed: then it has to be finished.
    """
    if store.head(intent.root + layout.INTENT) is None:
        return None
    abandonment = ArchiveAbandonment(name=intent.name, why=why)
    try:
        create_or_confirm(store, intent.root + layout.MANIFEST, abandonment.to_json())
    except AlreadyExists:
        decision = load_decision(store, intent.name)
        if isinstance(decision, ArchiveManifest):
            return decision
    store.abort_uploads(intent.root)
    mark(store, intent.root + layout.ABANDONED, _why(why))
    return None


def is_committed(store: Store, intent: ArchiveIntent) -> bool:
    """Whether the archive is already the checkpoint, so that only deletions are left."""
    try:
        return committed(store, intent) is not None
    except ArchiveAbandonedError:
        return False


def mark(store: Store, key: str, content: bytes = b"{}\n") -> None:
    """Write a mark whose being there is all that it says."""
    try:
        store.create(key, content)
    except AlreadyExists:
        if store.head(key) is None:  # refused for something that is not there
            raise


def _why(why: str) -> bytes:
    return (json.dumps({"why": why}) + "\n").encode()
