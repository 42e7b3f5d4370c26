"""A copy counts only if the bytes are equal: by the store's checksums, by reading the copy, or by reading both."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.archive_documents import ArchivedObject
from t2i_checkpoint.archive_verify import is_still_archived, verify_copy
from t2i_checkpoint.store import Checksum, ObjectChanged

if TYPE_CHECKING:
    from t2i_checkpoint.store import ObjectInfo, Store

CONTENT = b"weights" * 1000
OTHER = b"Weights" + CONTENT[7:]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


CRC32 = Checksum("CRC32", b64(zlib.crc32(CONTENT).to_bytes(4, "big")))
SHA256 = Checksum("SHA256", b64(hashlib.sha256(CONTENT).digest()))
SHA1 = Checksum("SHA1", b64(hashlib.sha1(CONTENT).digest()))  # noqa: S324  # S3's algorithm
CRC64 = Checksum("CRC64NVME", "AAAAAAAAAAA=")
FALSE = Checksum("CRC32", b64(bytes(4)))


class Summed:
    """A store with given checksums for source and copy, that counts which objects are read."""

    def __init__(self, store: Store, source: Checksum | None, copy: Checksum | None) -> None:
        self._store, self._sums = store, {"source": source, "copy": copy}
        self.read_keys: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def checksum(self, key: str) -> Checksum | None:
        return self._sums[key]

    def read(self, key: str, *arguments: Any, **options: Any) -> bytes:
        self.read_keys.add(key)
        return self._store.read(key, *arguments, **options)


def lay(store: Store, copy: bytes) -> ObjectInfo:
    store.put("source", CONTENT)
    store.put("copy", copy)
    info = store.head("source")
    assert info is not None
    return info


@pytest.mark.parametrize(
    ("source", "copy", "by", "read"),
    [
        (CRC32, CRC32, "checksum", set()),
        (CRC32, CRC64, "read-back", {"copy"}),
        (SHA256, CRC64, "read-back", {"copy"}),
        (SHA1, None, "read-back", {"copy"}),
        (CRC64, CRC32, "read-back", {"source", "copy"}),
        (None, CRC32, "read-back", {"source", "copy"}),
        (None, None, "read-back", {"source", "copy"}),
        (FALSE, CRC32, "read-back", {"source", "copy"}),
    ],
)
def test_an_equal_copy_is_verified_as_cheaply_as_the_checksums_allow(
    store: Store, source: Checksum | None, copy: Checksum | None, by: str, read: set[str]
) -> None:
    info = lay(store, CONTENT)
    summed = Summed(store, source, copy)
    verified = verify_copy(summed, info, "copy")
    assert verified is not None
    assert (verified.by, summed.read_keys) == (by, read)


@pytest.mark.parametrize("checksum", [CRC32, SHA256, SHA1, CRC64, None])
@pytest.mark.parametrize("wrong", [OTHER, CONTENT[:-1], CONTENT + b"x", b""])
def test_another_content_is_never_verified(store: Store, checksum: Checksum | None, wrong: bytes) -> None:
    info = lay(store, wrong)
    assert verify_copy(Summed(store, checksum, None), info, "copy") is None


def test_no_copy_is_no_copy(store: Store) -> None:
    info = lay(store, CONTENT)
    store.delete(["copy"])
    assert verify_copy(store, info, "copy") is None


def test_a_source_that_was_replaced_verifies_nothing(store: Store) -> None:
    info = lay(store, CONTENT)
    store.put("source", OTHER)
    with pytest.raises(ObjectChanged):
        verify_copy(Summed(store, None, None), info, "copy")


@pytest.mark.parametrize("checksum", [str(CRC32), str(SHA256), "sha256-hex:" + hashlib.sha256(CONTENT).hexdigest()])
def test_a_copy_that_was_written_again_counts_by_its_content(store: Store, checksum: str) -> None:
    lay(store, CONTENT)
    item = ArchivedObject(
        source="checkpoint-1/x",
        destination="copy",
        size=len(CONTENT),
        etag="of an earlier copy",
        checksum=checksum,
        verified_by="read-back",
    )
    unsummed = Summed(store, None, None)
    now = store.head("copy")
    assert now is not None
    assert is_still_archived(unsummed, item, now)
    assert not is_still_archived(unsummed, item.model_copy(update={"size": 1}), now)
    store.put("copy", OTHER)
    now = store.head("copy")
    assert now is not None
    assert not is_still_archived(unsummed, item, now)
