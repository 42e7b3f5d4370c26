"""Shards of a store as open local files: a bounded number of them, downloaded ahead, shared by the pod's processes.

A file in the cache was compared with the index's SHA-256 before it got its name; shards of a `file://` store stay where
they are, and a mark in the cache says that they were compared. Which shards are kept decides nothing but speed: a shard
that was evicted too early is fetched again.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from t2i_api.progress import ExitCode
from t2i_trainer.data.shard_file import ShardReader, file_sha256
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from t2i_checkpoint.store import Store
    from t2i_trainer.data.shard_index import Shard, ShardIndex

_DOWNLOADS = 4
# The window in use, the next one, and the one before for batches that were begun in it.
_WINDOWS_KEPT = 3
_FILE = "file://"


class ShardCache:
    """Opens shards by number; `evicts` is true for one process of the pod, which keeps the folder small."""

    def __init__(self, store: Store, index: ShardIndex, folder: Path, *, evicts: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._index = index
        self._folder = folder
        self._in_place = Path(unquote(store.uri.removeprefix(_FILE))) if store.uri.startswith(_FILE) else None
        self._evicts = evicts and self._in_place is None
        self.capacity = _WINDOWS_KEPT * index.window_shards
        self._pool = ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="shards")
        self._lock = threading.Lock()
        self._open: OrderedDict[int, Future[ShardReader]] = OrderedDict()

    def expect(self, numbers: Sequence[int]) -> None:
        """Fetch these shards soon, in this order; may drop others. Returns at once."""
        with self._lock:
            for number in numbers[: self.capacity]:
                self._future(number)
            kept = set(numbers[: self.capacity])
            surplus = len(self._open) - self.capacity
            dropped = [number for number in self._open if number not in kept][: max(surplus, 0)]
            for number in dropped:
                del self._open[number]
        if self._evicts:
            for number in dropped:
                self._path(self._index.shards[number]).unlink(missing_ok=True)

    def reader(self, number: int) -> ShardReader:
        """Return an open shard, waiting for its download; raises TrainerError, StoreError."""
        with self._lock:
            future = self._future(number)
        return future.result()

    def close(self) -> None:
        """Stop downloading."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _future(self, number: int) -> Future[ShardReader]:
        future = self._open.get(number)
        if future is None or (future.done() and future.exception() is not None):
            future = self._pool.submit(self._fetch, self._index.shards[number])
            self._open[number] = future
        self._open.move_to_end(number)
        return future

    def _fetch(self, shard: Shard) -> ShardReader:
        path = self._path(shard)
        # The pod's processes share the folder: one downloads, the others wait for it here.
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._in_place is not None:
                self._compare_in_place(shard, path)
                return self._opened(shard, self._in_place / shard.path)
            while True:
                if not path.exists():
                    partial = path.with_suffix(".partial")
                    self._store.download(shard.path, partial)
                    self._compare(shard, partial)
                    partial.replace(path)
                # Gone again if another thread or process that is further on evicted it meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    return self._opened(shard, path)

    def _opened(self, shard: Shard, path: Path) -> ShardReader:
        return ShardReader(path, self._index.recipe, shard.samples, f"{self._store.uri}/{shard.path}")

    def _compare_in_place(self, shard: Shard, mark: Path) -> None:
        if self._in_place is not None and not mark.exists():
            if self._store.head(shard.path) is None:
                raise self._damaged(shard, "is not there")
            self._compare(shard, self._in_place / shard.path)
            mark.touch()

    def _compare(self, shard: Shard, path: Path) -> None:
        size = path.stat().st_size
        if size != shard.size:
            raise self._damaged(shard, f"has {size} bytes, {shard.size} were written")
        found = file_sha256(path)
        if found != shard.sha256:
            raise self._damaged(shard, f"has SHA-256 {found[:16]}…, {shard.sha256[:16]}… was written")

    def _damaged(self, shard: Shard, what: str) -> TrainerError:
        record = shard.path.removesuffix(".safetensors")
        return TrainerError(
            ExitCode.DATA_INVALID,
            f"{self._store.uri}/{shard.path} {what}: the shard was damaged or replaced. Delete INDEX.json, "
            f"{record}.safetensors and {record}.json there and run the same `t2i data encode` again: only this "
            "shard is encoded anew",
        )

    def _path(self, shard: Shard) -> Path:
        return self._folder / shard.path.replace("/", "-")
