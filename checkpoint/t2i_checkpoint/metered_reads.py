"""What reading one checkpoint costs, counted where it happens: several are read at once through one store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store

MAX_READS = 3
MAX_BYTES = 512 * 1024


class MeteredReads:
    """A store whose ranged reads are counted; every other operation is the store's own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = 0
        self.bytes_read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def as_store(self) -> Store:
        """Self, for those who only know stores."""
        return cast("Store", self)

    def read(self, key: str, start: int = 0, length: int | None = None, *, etag: str | None = None) -> bytes:
        """Read as the store does."""
        self.reads += 1
        data = self._store.read(key, start, length, etag=etag)
        self.bytes_read += len(data)
        return data

    def affords(self, expected_bytes: int, reads: int = 1) -> bool:
        """Whether something that may be left unread still fits into what a checkpoint may cost."""
        return self.reads + reads <= MAX_READS and self.bytes_read + expected_bytes <= MAX_BYTES
