"""What a store really honours, found by trying: several take a condition silently and ignore it.

Everything happens below a private prefix, which is cleaned up. Conditional writes are tried from several threads at
once, because some stores keep them only while nobody else writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.spec_run import ArchiveMethod

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store

PROBE_PREFIX = ".t2i-probe/"


@dataclass(frozen=True)
class StoreAbilities:
    """One field a promise; `notes` say what was seen where one is broken."""

    conditional_create: bool  # If-None-Match: * refuses an existing key
    conditional_create_under_race: bool  # and lets exactly one of many writers win
    copy_source_condition: bool  # a copy of a replaced source is refused
    multipart_copy: bool  # parts are copied under the same condition, and the result is equal
    conditional_complete: bool  # a multipart upload completed with If-None-Match: * replaces nothing
    conditional_delete: bool  # If-Match on a deletion spares a replaced object
    delete_takes_effect: bool  # what was deleted is gone at the next look
    full_object_checksum: bool  # source and copy have comparable checksums, so nothing need be read back
    ranged_reads: bool  # a range returns exactly that range
    list_after_write: bool  # a listing shows what was just written, and no longer what was just deleted
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a checkpoint must not be moved on this store; empty where it is safe."""
        needed = {
            "conditional_create": "ignores If-None-Match on PUT",
            "conditional_create_under_race": "lets several of many concurrent If-None-Match writers win",
            "copy_source_condition": "ignores the condition on a copy's source",
            "multipart_copy": "does not copy in parts under a condition",
            "delete_takes_effect": "shows objects after their deletion",
            "ranged_reads": "ignores ranges",
        }
        return tuple(why for name, why in needed.items() if not getattr(self, name))

    @property
    def safe_method(self) -> ArchiveMethod:
        """Move where every condition that a move relies on is honoured, else Reference."""
        return ArchiveMethod.REFERENCE if self.reasons else ArchiveMethod.MOVE

    def warning(self, asked: ArchiveMethod) -> str | None:
        """Return what the user must know where `asked` cannot be had, or None."""
        if asked is ArchiveMethod.REFERENCE or not self.reasons:
            return None
        return (
            f"the store {' and '.join(self.reasons)}: moving is not safe on it, so the checkpoint stays where it is "
            "and a pointer archives it (method Reference)"
        )


def probe(store: Store) -> StoreAbilities:
    """Try everything once, about 40 small requests; raises StoreError only where the store cannot be written at all."""
    raise NotImplementedError
