"""A directory store whose process is killed before one of its changes, each of which can be the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Killed(BaseException):
    """The process ends here."""


class MortalStore(LocalStore):
    """Killed before its n-th change, counted from 0; a deletion of many keys is many changes."""

    def __init__(self, root: Path, lives: int) -> None:
        super().__init__(root)
        self._lives = lives

    def create(self, key: str, data: bytes) -> None:
        self._spend()
        super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        self._spend()
        super().put(key, data)

    def upload(self, key: str, path: Path) -> None:
        self._spend()
        super().upload(key, path)

    def copy(self, source_key: str, destination_key: str, **flags: Any) -> None:
        self._spend()
        super().copy(source_key, destination_key, **flags)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._spend()
            super().delete([key])

    def _spend(self) -> None:
        if self._lives == 0:
            raise Killed
        self._lives -= 1
