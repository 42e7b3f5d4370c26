"""Whether a copy is equal to its source: by full-object checksums where the store has them, else by reading.

An ETag is never compared between source and copy: it depends on how an object was written, not only on its content.
A CRC tells damage from truth, not a forger from a copier (bytes with any wanted CRC are easily made): of a copy that
this process did not make itself only SHA-256 or reading both sides is a proof.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from t2i_checkpoint.store import Checksum, content_sha256, read_blocks

if TYPE_CHECKING:
    from t2i_checkpoint.archive_documents import ArchivedObject
    from t2i_checkpoint.store import ObjectInfo, Store

_SHA256_HEX = "sha256-hex:"
_UNFORGEABLE = {"SHA256"}


@dataclass(frozen=True)
class Verified:
    """A copy that is equal to its source; `checksum` is of the copy's content."""

    copied: ObjectInfo
    checksum: str
    by: Literal["checksum", "read-back"]


def verify_copy(
    store: Store, source: ObjectInfo, destination_key: str, *, made_elsewhere: bool = False
) -> Verified | None:
    """Compare an object with the copy of it, if there is one; None where they differ or there is none.

    `made_elsewhere`: not this process made the copy, so that it may be anybody's; a CRC then proves nothing.
    The source has to be `source`: ObjectChanged or NotFound otherwise, if it has to be read.
    """
    copied = store.head(destination_key)
    if copied is None or copied.size != source.size:
        return None
    ours, theirs = store.checksum(destination_key), store.checksum(source.key)
    if made_elsewhere and theirs is not None and theirs.algorithm not in _UNFORGEABLE:
        ours = theirs = None
    if ours is not None and ours == theirs:
        return Verified(copied, str(ours), "checksum")
    return _verified_by_reading(store, source, copied, theirs)


def is_still_archived(store: Store, item: ArchivedObject, info: ObjectInfo) -> bool:
    """Whether `info`, a look at the copy, still shows what was verified."""
    if info.size != item.size:
        return False
    if info.etag == item.etag:
        return True
    # A second archiver may have copied the same bytes again, perhaps in other parts.
    if item.checksum.startswith(_SHA256_HEX):
        return _SHA256_HEX + content_sha256(store, info) == item.checksum
    if str(store.checksum(item.destination)) == item.checksum:
        return True
    algorithm, _, value = item.checksum.partition(":")
    return _has_checksum(store, info, Checksum(algorithm, value))


def _verified_by_reading(
    store: Store, source: ObjectInfo, copied: ObjectInfo, expected: Checksum | None
) -> Verified | None:
    """Read the copy; and the source too, unless the copy has the checksum that the store vouches for at the source."""
    if expected is not None and _has_checksum(store, copied, expected):
        return Verified(copied, str(expected), "read-back")
    # A store's checksum may be wrong where its content is not: the bytes decide.
    content = content_sha256(store, copied)
    return Verified(copied, _SHA256_HEX + content, "read-back") if content_sha256(store, source) == content else None


def _has_checksum(store: Store, info: ObjectInfo, expected: Checksum) -> bool:
    """Read the object and compare; False for an algorithm that cannot be computed here."""
    digest = _running(expected.algorithm)
    if digest is None:
        return False
    for block in read_blocks(store, info):
        digest.update(block)
    return base64.b64encode(digest.digest()).decode() == expected.value


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    """zlib's CRC32 in hashlib's shape, the digest in network byte order as S3 has it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _running(algorithm: str) -> _Digest | None:
    match algorithm:
        case "CRC32":
            return _Crc32()
        case "SHA256":
            return hashlib.sha256()
        case "SHA1":
            return hashlib.sha1()  # noqa: S324  # the store's checksum against damage, not a signature
        case _:
            return None
