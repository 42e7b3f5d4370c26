"""Which archives lie below a checkpoint URI, and in what state each is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.archive_decision import load_decision, load_intent
from t2i_checkpoint.archive_documents import ArchiveAbandonment, ArchiveError, ArchiveIntent, ArchiveManifest
from t2i_checkpoint.listing import MAX_SEEN, list_bounded
from t2i_checkpoint.store import NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from t2i_api.spec_run import ArchiveMethod
    from t2i_checkpoint.archive_documents import ArchivedFolder
    from t2i_checkpoint.store import Store

RESTORED = "RESTORED.json"
_MARKS = {layout.INTENT, layout.MANIFEST, layout.COMPLETED, layout.ABANDONED, RESTORED}


class ArchiveState(StrEnum):
    """How far an archive came."""

    UNFINISHED = "Unfinished"  # an intent, no commit: the checkpoint is whole at its source
    COMMITTED = "Committed"  # whole in the archive, not all of the source is deleted yet
    COMPLETED = "Completed"
    RESTORED = "Restored"  # copied back; the archive is still whole
    ABANDONED = "Abandoned"  # given up before the commit
    UNREADABLE = "Unreadable"  # its documents cannot be believed; `fault` says why


@dataclass(frozen=True)
class ArchiveSummary:
    """One archive; sizes in bytes. `folders` are the checkpoints with the verdicts that sent them there."""

    name: str
    label: str
    created_at: datetime
    state: ArchiveState
    method: ArchiveMethod | None = None
    folders: tuple[ArchivedFolder, ...] = ()
    objects: int = 0
    size_bytes: int = 0
    fault: str | None = None

    @property
    def restorable(self) -> bool:
        """Whether the archive is committed and can be copied back."""
        return self.state in {ArchiveState.COMMITTED, ArchiveState.COMPLETED, ArchiveState.RESTORED}


def archive_marks(store: Store) -> dict[str, set[str]]:
    """Return which documents each archive has, by its name; one LIST. Raises TooManyObjects (a StoreError)."""
    marks: dict[str, set[str]] = {}
    for info in list_bounded(store, layout.ARCHIVE, MAX_SEEN):
        name, _, rest = info.key.removeprefix(layout.ARCHIVE).partition("/")
        if rest in _MARKS:
            marks.setdefault(name, set()).add(rest)
    return marks


def list_archives(store: Store) -> tuple[ArchiveSummary, ...]:
    """Return all archives, newest first: one LIST and one small read each. Raises StoreError."""
    found = []
    for name, marks in archive_marks(store).items():
        parsed = layout.parse_archive_name(name)
        if parsed is not None:
            found.append(_summary(store, name, parsed, marks))
    return tuple(sorted(found, key=lambda each: (each.created_at, each.name), reverse=True))


def _summary(store: Store, name: str, parsed: tuple[datetime, str], marks: set[str]) -> ArchiveSummary:
    created_at, label = parsed
    try:
        document = load_decision(store, name) if layout.MANIFEST in marks else None
        if not isinstance(document, ArchiveManifest) and layout.INTENT in marks:
            state = ArchiveState.ABANDONED if document or layout.ABANDONED in marks else ArchiveState.UNFINISHED
            return _described(state, load_intent(store, name), created_at, label)
    except (ArchiveError, NotFound) as error:
        return ArchiveSummary(name, label, created_at, ArchiveState.UNREADABLE, fault=str(error))
    if isinstance(document, ArchiveManifest):
        state = ArchiveState.COMPLETED if layout.COMPLETED in marks else ArchiveState.COMMITTED
        return _described(ArchiveState.RESTORED if RESTORED in marks else state, document, created_at, label)
    if isinstance(document, ArchiveAbandonment):
        return ArchiveSummary(name, label, created_at, ArchiveState.ABANDONED)
    fault = f"neither {layout.INTENT} nor {layout.MANIFEST} is there"
    return ArchiveSummary(name, label, created_at, ArchiveState.UNREADABLE, fault=fault)


def _described(
    state: ArchiveState, document: ArchiveIntent | ArchiveManifest, created_at: datetime, label: str
) -> ArchiveSummary:
    objects = document.entries if isinstance(document, ArchiveIntent) else document.objects
    return ArchiveSummary(
        document.name,
        label,
        created_at,
        state,
        document.method,
        document.folders,
        len(objects),
        document.size_bytes,
    )
