"""Ranged reads of one object with what was already fetched kept, so that neighbouring structures cost one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault

if TYPE_CHECKING:
    from t2i_checkpoint.store import ObjectInfo, Store


class RangedObject:
    """One object, pinned to its ETag; a read that an earlier one covers costs nothing."""

    def __init__(self, store: Store, info: ObjectInfo) -> None:
        self._store = store
        self.info = info
        self._fetched: list[tuple[int, bytes]] = []

    def read(self, start: int, length: int) -> bytes:
        """Return exactly these bytes; HeaderError where they lie outside the object or the store sent fewer."""
        if start < 0 or length < 0 or start + length > self.info.size:
            detail = f"bytes {start}..{start + length} were asked for in a file of {self.info.size}"
            raise HeaderError(HeaderFault.HEADER_TRUNCATED, detail)
        for begin, content in self._fetched:
            if begin <= start and start + length <= begin + len(content):
                return content[start - begin : start - begin + length]
        content = self._store.read(self.info.key, start, length, etag=self.info.etag)
        if len(content) != length:
            raise HeaderError(HeaderFault.HEADER_TRUNCATED, f"{len(content)} of {length} bytes at {start} came")
        self._fetched.append((start, content))
        return content

    def read_before(self, start: int, length: int, *, known_from: int) -> bytes:
        """Return these bytes, fetching only those before `known_from`: what follows was read already."""
        if not start < known_from < start + length:
            return self.read(start, length)
        return self.read(start, known_from - start) + self.read(known_from, start + length - known_from)
