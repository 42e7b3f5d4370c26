"""The `Store` protocol: the few object-storage operations that everything else is built from.

Stands at the bottom of the package. Implementations (`s3.py`, `local.py`) are synchronous and thread-safe; keys are
relative to the root URI. Nothing above this module knows which store it talks to.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

READ_BLOCK_BYTES = 8 * 1024 * 1024
_MOST_KEY_BYTES = 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html


@dataclass(frozen=True)
class ObjectInfo:
    """One stored object as a listing or a HEAD shows it; `size` in bytes, `modified_at` with time zone."""

    key: str
    size: int
    etag: str
    modified_at: datetime

    def same_content_as(self, other: ObjectInfo | None) -> bool:
        """Whether `other` is this very object, not replaced since: same ETag, size and time of writing."""
        return other is not None and (self.etag, self.size, self.modified_at) == (
            other.etag,
            other.size,
            other.modified_at,
        )


@dataclass(frozen=True)
class Credentials:
    """An access key pair; hidden from repr, so that no log or traceback shows it."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Checksum:
    """A checksum over the whole content; `algorithm` as S3 spells it (`CRC64NVME`, `SHA256`), `value` in base64."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


@dataclass(frozen=True)
class Traffic:
    """What a store has cost so far: requests on the wire (retries included) and payload bytes."""

    requests: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def since(self, earlier: Traffic) -> Traffic:
        """What was added after `earlier`."""
        return Traffic(
            self.requests - earlier.requests,
            self.bytes_read - earlier.bytes_read,
            self.bytes_written - earlier.bytes_written,
        )


class TrafficMeter:
    """Thread-safe counter behind `Store.traffic`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._read = self._written = 0

    def add(self, *, requests: int = 0, bytes_read: int = 0, bytes_written: int = 0) -> None:
        """Count some more traffic."""
        with self._lock:
            self._requests += requests
            self._read += bytes_read
            self._written += bytes_written

    def snapshot(self) -> Traffic:
        """Return the figures of this instant."""
        with self._lock:
            return Traffic(self._requests, self._read, self._written)


@dataclass(frozen=True, kw_only=True)
class StoreRequest:
    """A request on the wire that came to its end, a retry like any other.

    `operation` as the store's API names it; `code` is the HTTP status of the answer, or `none` without one.
    """

    operation: str
    code: str
    seconds: float


StoreListener = Callable[[StoreRequest], None]


class StoreError(Exception):
    """A storage operation failed; the message names location, key, operation and the way out."""

    def __init__(self, what: str, *, uri: str, operation: str, key: str | None = None, way_out: str) -> None:
        at = f"{uri.rstrip('/')}/{key}" if key is not None else uri
        super().__init__(f"{operation} {at}: {what}. {way_out}")
        self.uri = uri
        self.operation = operation
        self.key = key
        self.way_out = way_out


class NotFound(StoreError):  # noqa: N818  # reads as what happened, like FileNotFoundError's cause
    """The object is not there."""


class AlreadyExists(StoreError):  # noqa: N818
    """A create-only write met an object that is already there."""


class ObjectChanged(StoreError):  # noqa: N818
    """The object is no longer the one that was looked at (ETag differs)."""


class AccessDenied(StoreError):  # noqa: N818
    """The credentials are wrong or do not allow the operation."""


class StoreUnavailable(StoreError):  # noqa: N818
    """The store did not answer properly; the same call may succeed later."""


class NotSupported(StoreUnavailable):
    """The store answered that it has no such operation, or answered something that means nothing."""


class InvalidLocation(StoreError):  # noqa: N818
    """URI, endpoint, bucket or key cannot be right."""


class CopyListener(Protocol):
    """Hears how a copy goes on; called from several threads."""

    def moved(self, count: int) -> None:
        """`count` more bytes were copied; a negative count takes back what has to be copied again."""

    def found(self, count: int) -> None:
        """`count` bytes were there already, from a copy that was broken off."""


@runtime_checkable
class Store(Protocol):
    """Object storage below one root URI. Every method may raise any `StoreError` besides those it names."""

    @property
    def uri(self) -> str:
        """The root, without a trailing slash."""

    @property
    def traffic(self) -> Traffic:
        """What has been sent and received so far."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix` (plain string prefix), in key order."""

    def head(self, key: str) -> ObjectInfo | None:
        """Return a fresh look at one object, or None where there is none."""

    def checksum(self, key: str) -> Checksum | None:
        """Return the checksum over the full content that the store vouches for, or None where it has none."""

    def read(self, key: str, start: int = 0, length: int | None = None, *, etag: str | None = None) -> bytes:
        """Read `length` bytes from `start`, fewer at the end; ObjectChanged if `etag` is no longer the object's."""

    def create(self, key: str, data: bytes) -> None:
        """Write a small object that must not exist yet: atomic and create-only, else AlreadyExists."""

    def put(self, key: str, data: bytes) -> None:
        """Write a small object, replacing what was there."""

    def upload(self, key: str, path: Path) -> None:
        """Write a big object from a file, replacing what was there; checksummed end to end."""

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to `path` (replaced only when complete)."""

    def copy(  # noqa: PLR0913  # keyword-only flags with defaults
        self,
        source_key: str,
        destination_key: str,
        *,
        source_etag: str,
        create_only: bool = False,
        exclusive: bool = False,
        notes: str | None = None,
        listener: CopyListener | None = None,
    ) -> None:
        """Copy on the server's side; ObjectChanged if the source no longer has `source_etag`.

        `create_only`: AlreadyExists instead of replacing something. `exclusive`: the destination key belongs to the
        caller alone, so an upload in parts that is open there is an own one, broken off, and is gone on with.
        `notes`: elsewhere, the prefix (with its slash, the caller's alone) below which own uploads are written down.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Delete exactly these keys; a key that is not there is no error, a key that stays is one."""

    def delete_unchanged(self, info: ObjectInfo) -> None:
        """Delete one object; ObjectChanged if it no longer has `info`'s ETag, NotSupported where that cannot be asked.

        Some stores take the condition silently and delete whatever is there: `probe.py` finds them out.
        """

    def abort_uploads(self, prefix: str) -> int:
        """End uploads in parts that were broken off below `prefix`, which belongs to the caller alone; how many."""

    def end_noted_uploads(self, notes: str, keys: Iterable[str]) -> None:
        """End uploads to `keys` that were broken off and are written down below `notes`, and remove the notes."""


def create_or_confirm(store: Store, key: str, data: bytes) -> None:
    """Create `key`, or find exactly `data` there already.

    A create whose answer was lost is retried by the client and then meets its own object; the same holds for a process
    that repeats what a killed one did. Raises AlreadyExists if the content is different.
    """
    try:
        store.create(key, data)
    except AlreadyExists:
        if store.read(key, 0, len(data) + 1) != data:
            raise


def content_sha256(store: Store, info: ObjectInfo) -> str:
    """Read the whole object in blocks, pinned to its ETag, and return the hex SHA-256 of its content."""
    digest = hashlib.sha256()
    for block in read_blocks(store, info):
        digest.update(block)
    return digest.hexdigest()


def read_blocks(store: Store, info: ObjectInfo) -> Iterator[bytes]:
    """Yield the whole content in blocks, pinned to its ETag; ObjectChanged if it is replaced meanwhile."""
    position = 0
    while position < info.size:
        block = store.read(info.key, position, min(READ_BLOCK_BYTES, info.size - position), etag=info.etag)
        if not block:
            raise ObjectChanged(
                f"ends after {position} of {info.size} bytes",
                uri=store.uri,
                operation="read",
                key=info.key,
                way_out="Something replaced the object meanwhile; run again",
            )
        yield block
        position += len(block)


def check_key(key: str, *, uri: str, operation: str) -> None:
    """Refuse keys that could leave the root or that stores disagree about."""
    fault = key_fault(key)
    if fault is not None:
        raise InvalidLocation(fault, uri=uri, operation=operation, key=repr(key), way_out="Use another name")


def key_fault(key: str) -> str | None:
    """Say what is wrong with a key, None where every operation takes it. A listing may show keys that others wrote."""
    parts = key.split("/")
    if not key or len(key.encode("utf-8", "surrogatepass")) > _MOST_KEY_BYTES:
        return f"a key has 1 to {_MOST_KEY_BYTES} bytes"
    if any(part in {"", ".", ".."} for part in parts):
        return "a key has no empty, '.' or '..' part"
    if any(ord(character) < ord(" ") or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in key):
        return "a key has no control characters"
    return None
