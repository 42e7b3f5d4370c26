"""Copy an archived checkpoint back to where it lay; the archive stays whole.

Nothing is deleted: a deletion that an archiver decided on before it was stopped may arrive at any later time, and
only bytes that nobody ever deletes are safe from it. Every write is create-only, so no checkpoint is ever replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2i_checkpoint.archive_plan import ArchiveManifest
    from t2i_checkpoint.archive_progress import ProgressCallback
    from t2i_checkpoint.store import Store


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

    Raises ArchiveError: ArchiveNotFound, ArchiveNotCommitted, ArchiveDamaged, or RestoreTargetTaken where a different
    checkpoint lies at the old place now.
    """
    raise NotImplementedError


def run_restore(store: Store, intent: RestoreIntent, on_progress: ProgressCallback | None = None) -> None:
    """Carry a restore out, or finish what a killed one began; the same call may be repeated.

    Raises ArchiveError or StoreError; the archive is whole in every case.
    """
    raise NotImplementedError
