"""Puts files into a store so that a second run sends nothing: what lies there already with equal content stays."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from t2i_checkpoint.store import Store

_COMPARED_BYTES = 1 << 20  # up to here content is compared; above, size: a packaged model of equal size is the same one
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Uploaded:
    """How many files were sent, and how many lay there already."""

    sent: int
    kept: int


def upload_files(store: Store, files: Mapping[str, Path], *, last: str | None = None) -> Uploaded:
    """Upload key -> file; `last` names the key that must not appear before all others are there.

    Raises StoreError. Killed at any instant, it can simply be run again.
    """
    first = [key for key in files if key != last]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        sent = sum(pool.map(lambda key: _upload(store, key, files[key]), first))
    if last is not None:
        sent += _upload(store, last, files[last])
    return Uploaded(sent, len(files) - sent)


def _upload(store: Store, key: str, path: Path) -> bool:
    size = path.stat().st_size
    there = store.head(key)
    if there is not None and there.size == size and (size > _COMPARED_BYTES or store.read(key) == path.read_bytes()):
        return False
    store.upload(key, path)
    return True
