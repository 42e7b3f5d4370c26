"""`LocalStore`: a directory as object store (`file://`), for runs without S3 and for tests.

Same promises as S3: objects appear whole or not at all, create-only is atomic (hard link), a replaced object is never
seen half-written. Partial files (`local_partial.py`) are never listed; no key leads through a link (`local_walk.py`).
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from t2i_checkpoint.local_errors import raise_translated
from t2i_checkpoint.local_partial import PARTIAL_FOLDER, new_partial, remove_stale_partials
from t2i_checkpoint.local_walk import expect_no_linked_folder, keys_below
from t2i_checkpoint.store import (
    READ_BLOCK_BYTES,
    Checksum,
    InvalidLocation,
    ObjectChanged,
    ObjectInfo,
    Traffic,
    TrafficMeter,
    check_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from t2i_checkpoint.store import CopyListener

_LINK_ATTEMPTS = 5


class LocalStore:
    """Objects are the regular files below `root`, which need not exist yet; directories are only parts of keys."""

    def __init__(self, root: Path) -> None:
        if not root.is_absolute():
            raise InvalidLocation(
                "the directory is not absolute", uri=str(root), operation="open", way_out="Write file:///full/path"
            )
        self._root = root
        self._meter = TrafficMeter()
        self._has_swept = False

    @property
    def uri(self) -> str:
        """`file://` and the directory."""
        return f"file://{self._root}"

    @property
    def traffic(self) -> Traffic:
        """Calls count as requests, so that figures compare with S3."""
        return self._meter.snapshot()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the files whose relative path starts with `prefix`, in key order."""
        self._meter.add(requests=1)
        if ".." in prefix.split("/"):
            raise InvalidLocation("a prefix has no '..' part", uri=self.uri, operation="list", key=prefix, way_out="")
        try:
            for key in keys_below(self._root, prefix, without=PARTIAL_FOLDER):
                info = self._look(key, "list")
                if info is not None:
                    yield info
        except OSError as error:
            self._translate(error, None, "list")

    def head(self, key: str) -> ObjectInfo | None:
        """Stat the file."""
        check_key(key, uri=self.uri, operation="head")
        self._meter.add(requests=1)
        return self._look(key, "head")

    def checksum(self, key: str) -> Checksum | None:
        """Read the whole file and return its SHA-256."""
        digest = hashlib.sha256()
        with self._reading(key, "checksum") as file:
            while block := file.read(READ_BLOCK_BYTES):
                digest.update(block)
        return Checksum("SHA256", base64.b64encode(digest.digest()).decode())

    def read(self, key: str, start: int = 0, length: int | None = None, *, etag: str | None = None) -> bytes:
        """Read a range of the file."""
        if start < 0 or (length is not None and length < 0):
            raise ValueError(f"range must not be negative: start={start}, length={length}")
        with self._reading(key, "read") as file:
            if etag is not None and _etag(os.fstat(file.fileno())) != etag:
                self._changed(key, "read")
            # Python reserves what is asked for, and a hostile header may ask for more than there is.
            left = max(os.fstat(file.fileno()).st_size - start, 0)
            file.seek(start)
            data = file.read(left if length is None else min(length, left))
        self._meter.add(bytes_read=len(data))
        return data

    def create(self, key: str, data: bytes) -> None:
        """Write beside, then link: the link fails if the name is taken."""
        with self._partial(key, "create") as partial:
            partial.write_bytes(data)
            _sync(partial)
            self._place(partial, key, replace=False)
        self._meter.add(bytes_written=len(data))

    def put(self, key: str, data: bytes) -> None:
        """Write beside, then rename over."""
        with self._partial(key, "put") as partial:
            partial.write_bytes(data)
            _sync(partial)
            self._place(partial, key, replace=True)
        self._meter.add(bytes_written=len(data))

    def upload(self, key: str, path: Path) -> None:
        """Copy the file in, then rename over."""
        with self._partial(key, "upload") as partial:
            shutil.copyfile(path, partial)
            _sync(partial)
            self._place(partial, key, replace=True)
        self._meter.add(bytes_written=path.stat().st_size)

    def download(self, key: str, path: Path) -> None:
        """Copy the file out beside `path`, then rename over."""
        partial = path.with_name(f".{path.name}.partial")
        with self._reading(key, "download") as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, READ_BLOCK_BYTES)
        self._meter.add(bytes_read=partial.stat().st_size)
        partial.replace(path)

    def copy(  # noqa: PLR0913  # as the protocol has it
        self,
        source_key: str,
        destination_key: str,
        *,
        source_etag: str,
        create_only: bool = False,
        exclusive: bool = False,  # noqa: ARG002  # a file is never copied in parts
        notes: str | None = None,  # noqa: ARG002
        listener: CopyListener | None = None,
    ) -> None:
        """Copy the file; the source's state is compared before and after."""
        check_key(destination_key, uri=self.uri, operation="copy")
        with self._partial(destination_key, "copy") as partial:
            with self._reading(source_key, "copy") as source, partial.open("wb") as target:
                if _etag(os.fstat(source.fileno())) != source_etag:
                    self._changed(source_key, "copy")
                shutil.copyfileobj(source, target, READ_BLOCK_BYTES)
                if _etag(os.fstat(source.fileno())) != source_etag:
                    self._changed(source_key, "copy")
            _sync(partial)
            size = partial.stat().st_size
            self._place(partial, destination_key, replace=not create_only)
        if listener is not None:
            listener.moved(size)

    def abort_uploads(self, prefix: str) -> int:  # noqa: ARG002  # as the protocol has it
        """Do nothing: partial files are not named after their destination; those of the dead go after a day."""
        return 0

    def end_noted_uploads(self, notes: str, keys: Iterable[str]) -> None:
        """Do nothing: no upload in parts was ever begun."""

    def delete_unchanged(self, info: ObjectInfo) -> None:
        """Compare, then unlink."""
        now = self.head(info.key)
        if now is not None and now.etag != info.etag:
            self._changed(info.key, "delete")
        self.delete([info.key])

    def delete(self, keys: Iterable[str]) -> None:
        """Unlink the files and then the directories that they leave empty."""
        for key in keys:
            check_key(key, uri=self.uri, operation="delete")
            self._meter.add(requests=1)
            expect_no_linked_folder(self._root, key, "delete")
            path = self._root / key
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                self._translate(error, key, "delete")
            for parent in path.parents:
                if parent == self._root:
                    break
                try:
                    parent.rmdir()
                except OSError:
                    break  # not empty, or another process is filling it again

    def _look(self, key: str, operation: str) -> ObjectInfo | None:
        expect_no_linked_folder(self._root, key, operation)
        try:
            status = (self._root / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._translate(error, key, operation)
        if not stat.S_ISREG(status.st_mode):
            return None
        return ObjectInfo(key, status.st_size, _etag(status), datetime.fromtimestamp(status.st_mtime, UTC))

    @contextlib.contextmanager
    def _reading(self, key: str, operation: str) -> Iterator[BinaryIO]:
        check_key(key, uri=self.uri, operation=operation)
        self._meter.add(requests=1)
        expect_no_linked_folder(self._root, key, operation)
        try:
            with (self._root / key).open("rb") as file:
                yield file
        except OSError as error:
            self._translate(error, key, operation)

    @contextlib.contextmanager
    def _partial(self, key: str, operation: str) -> Iterator[Path]:
        check_key(key, uri=self.uri, operation=operation)
        self._meter.add(requests=1)
        expect_no_linked_folder(self._root, key, operation)
        expect_no_linked_folder(self._root, f"{PARTIAL_FOLDER}/", operation)
        if not self._has_swept:
            self._has_swept = True
            remove_stale_partials(self._root)
        try:
            partial = new_partial(self._root)
        except OSError as error:
            self._translate(error, key, operation)
        try:
            yield partial
        except OSError as error:
            self._translate(error, key, operation)
        finally:
            partial.unlink(missing_ok=True)

    def _place(self, partial: Path, key: str, *, replace: bool) -> None:
        target = self._root / key
        partial.chmod(0o644)  # mkstemp's 0600 would hide a checkpoint from the people who share the directory
        for attempt in range(_LINK_ATTEMPTS):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError as error:
                raise NotADirectoryError(errno.ENOTDIR, "a part of the key is a file") from error
            try:
                if replace:
                    partial.replace(target)
                else:
                    target.hardlink_to(partial)
            except FileNotFoundError:
                # A concurrent delete removed the empty parent between the two calls.
                if attempt == _LINK_ATTEMPTS - 1:
                    raise
            else:
                _sync(target.parent)
                return

    def _translate(self, error: OSError, key: str | None, operation: str) -> NoReturn:
        raise_translated(error, uri=self.uri, key=key, operation=operation)

    def _changed(self, key: str, operation: str) -> NoReturn:
        raise ObjectChanged(
            "the file was replaced meanwhile", uri=self.uri, operation=operation, key=key, way_out="Run again"
        )


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
