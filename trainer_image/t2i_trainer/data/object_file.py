"""An object of a store as a file that can be seeked, for readers of formats whose index stands at the end.

Every read is one ranged request, pinned to the object that was listed: a file that is replaced meanwhile is never read
half from the old and half from the new one.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2i_checkpoint.store import ObjectInfo, Store


class ObjectFile(io.RawIOBase):
    """Not for several threads at a time; whoever reads is the one to buffer."""

    def __init__(self, store: Store, info: ObjectInfo) -> None:
        self._store = store
        self._info = info
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return the place of the next read, in bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go there without a request; raises ValueError before the start."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._info.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{start + offset} is before the start of {self._info.key}")
        self._position = start + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Read `size` bytes, all that are left if negative, fewer at the end; raises StoreError."""
        left = max(self._info.size - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        data = self._store.read(self._info.key, self._position, wanted, etag=self._info.etag)
        self._position += len(data)
        return data
