"""A directory whose writer is killed at one of its writes, and what the next run left there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.trainer.mortal_store import Killed

from t2i_checkpoint.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class DyingStore(LocalStore):
    """A directory whose writer dies before its nth write, or right after it."""

    def __init__(self, root: Path, write: int, *, after: bool) -> None:
        super().__init__(root)
        self._left = write
        self._after = after

    def _hit(self, write: Callable[[], None]) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        write()
        if self._left == 0:
            raise Killed

    def put(self, key: str, data: bytes) -> None:
        self._hit(lambda: LocalStore.put(self, key, data))

    def create(self, key: str, data: bytes) -> None:
        self._hit(lambda: LocalStore.create(self, key, data))

    def upload(self, key: str, path: Path) -> None:
        self._hit(lambda: LocalStore.upload(self, key, path))


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".t2i" not in str(path)
    }
