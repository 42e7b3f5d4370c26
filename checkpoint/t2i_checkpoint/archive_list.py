"""Which archives lie below a checkpoint URI, and in what state each is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from t2i_api.spec_run import ArchiveMethod
    from t2i_checkpoint.archive_plan import ArchivedFolder
    from t2i_checkpoint.store import Store


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


def list_archives(store: Store) -> tuple[ArchiveSummary, ...]:
    """Return all archives, newest first: one LIST and one small read each. Raises StoreError."""
    raise NotImplementedError
