"""What S3's answers say about an object, and what is told of one: media type, CRC32 that an upload is held to."""

from __future__ import annotations

import base64
import mimetypes
import zlib
from datetime import UTC
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.store import READ_BLOCK_BYTES, Checksum, ObjectInfo

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_FULL_OBJECT_ALGORITHMS = ("CRC64NVME", "SHA256", "CRC32C", "CRC32", "SHA1")


def object_info(key: str, size: int, etag: str, modified_at: datetime) -> ObjectInfo:
    """Return the facts as a listing and a HEAD agree on them."""
    # Some stores list fractions of a second that HEAD's header cannot carry.
    return ObjectInfo(key, size, etag.strip('"'), modified_at.astimezone(UTC).replace(microsecond=0))


def full_object_checksum(head: dict[str, Any]) -> Checksum | None:
    """Return the checksum over the whole content; a composite one (a hash of part hashes) says nothing about a copy."""
    composite = head.get("ChecksumType") == "COMPOSITE"
    for algorithm in _FULL_OBJECT_ALGORITHMS:
        value = head.get(f"Checksum{algorithm}")
        if value and not composite and "-" not in value:
            return Checksum(algorithm, value)
    return None


def content_type(key: str) -> str:
    """Return the media type that a key's ending names: browsers show a page that has one and save one that has none."""
    return mimetypes.guess_type(key, strict=False)[0] or "application/octet-stream"


def crc32(path: Path) -> str:
    """Return the CRC32 of a file in S3's spelling."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(READ_BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return base64.b64encode(value.to_bytes(4, "big")).decode()
