"""What every store promises, proven on a directory and on the real S3 server."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.store import (
    AlreadyExists,
    InvalidLocation,
    NotFound,
    ObjectChanged,
    ObjectInfo,
    Store,
    StoreError,
    content_sha256,
    create_or_confirm,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_both_kinds_are_stores(store: Store) -> None:
    assert isinstance(store, Store)


def test_what_was_put_is_read_back_whole_and_in_ranges(store: Store) -> None:
    store.put("a/b.bin", b"0123456789")
    assert store.read("a/b.bin") == b"0123456789"
    assert store.read("a/b.bin", 2, 3) == b"234"
    assert store.read("a/b.bin", 8) == b"89"
    assert store.read("a/b.bin", 8, 100) == b"89"
    assert store.read("a/b.bin", 10, 5) == b""
    assert store.read("a/b.bin", 99) == b""
    assert store.read("a/b.bin", 3, 0) == b""


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put("empty", b"")
    info = store.head("empty")
    assert info is not None
    assert info.size == 0
    assert store.read("empty") == b""


def test_head_tells_size_and_time_and_none_for_nothing(store: Store) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    store.put("k", b"123")
    info = store.head("k")
    assert info is not None
    assert (info.key, info.size) == ("k", 3)
    assert before <= info.modified_at <= datetime.now(UTC)
    assert store.head("other") is None
    assert store.head("k/below") is None


def test_listing_is_by_string_prefix_in_key_order_and_agrees_with_head(store: Store) -> None:
    for key in ("checkpoint-1/a", "checkpoint-10/a", "checkpoint/z", "other/x", "checkpoint-1.txt"):
        store.put(key, key.encode())
    found = list(store.list("checkpoint"))
    assert [info.key for info in found] == ["checkpoint-1.txt", "checkpoint-1/a", "checkpoint-10/a", "checkpoint/z"]
    assert [store.head(info.key) for info in found] == found
    assert [info.key for info in store.list("checkpoint-1/")] == ["checkpoint-1/a"]
    assert list(store.list("nothing/here")) == []


def test_listing_goes_beyond_one_page(s3_store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: s3_store.put(f"many/{n:04d}", b"x"), range(1003)))
    assert [info.key for info in s3_store.list("many/")] == [f"many/{n:04d}" for n in range(1003)]


def test_create_is_create_only(store: Store) -> None:
    store.create("k", b"first")
    with pytest.raises(AlreadyExists, match=r"create .*k"):
        store.create("k", b"second")
    assert store.read("k") == b"first"


def test_of_many_creators_exactly_one_wins(store: Store) -> None:
    def attempt(number: int) -> int | None:
        try:
            store.create("race", str(number).encode())
        except StoreError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(attempt, range(16)) if number is not None]
    assert len(winners) == 1
    assert store.read("race") == str(winners[0]).encode()


def test_a_create_whose_answer_was_lost_is_confirmed_by_its_content(store: Store) -> None:
    store.create("k", b"mine")
    create_or_confirm(store, "k", b"mine")
    for other in (b"min", b"mine!"):
        with pytest.raises(AlreadyExists):
            create_or_confirm(store, "k", other)


def test_put_replaces_and_the_etag_tells(store: Store) -> None:
    store.put("k", b"one")
    first = store.head("k")
    store.put("k", b"two")
    second = store.head("k")
    assert first is not None
    assert second is not None
    assert first.etag != second.etag
    assert not first.same_content_as(second)
    assert store.read("k", etag=second.etag) == b"two"
    with pytest.raises(ObjectChanged):
        store.read("k", 0, 1, etag=first.etag)


def test_upload_and_download_keep_every_byte(store: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(3_000_001))
    store.upload("big", source)
    store.download("big", target)
    assert target.read_bytes() == source.read_bytes()
    info = store.head("big")
    assert info is not None
    assert content_sha256(store, info) == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_failed_download_leaves_no_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.download("nothing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copy_is_bound_to_the_source_that_was_looked_at(store: Store) -> None:
    store.put("from", b"content")
    info = store.head("from")
    assert info is not None
    store.copy("from", "to/there", source_etag=info.etag)
    assert store.read("to/there") == b"content"
    store.put("from", b"changed")
    with pytest.raises(ObjectChanged):
        store.copy("from", "to/there", source_etag=info.etag)
    assert store.read("to/there") == b"content"
    with pytest.raises(NotFound):
        store.copy("nothing", "x", source_etag=info.etag)


def test_checksums_of_equal_content_are_equal_after_a_copy(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"content" * 1000)
    store.upload("from", path)
    info = store.head("from")
    assert info is not None
    store.copy("from", "to", source_etag=info.etag)
    assert store.checksum("from") is not None
    assert store.checksum("from") == store.checksum("to")


def test_delete_takes_exactly_its_keys_and_forgives_the_absent(store: Store) -> None:
    for key in ("d/1", "d/2", "d/23"):
        store.put(key, b"x")
    store.delete(["d/1", "d/absent", "d/2"])
    assert [info.key for info in store.list("d/")] == ["d/23"]
    store.delete([])


def test_reading_what_is_not_there_names_key_operation_and_uri(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        store.read("no/such")
    assert caught.value.key == "no/such"
    assert store.uri in str(caught.value)
    assert "read" in str(caught.value)


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", "a/.", "a\nb", "x" * 1025, "a\ud800"])
def test_keys_that_could_leave_the_root_are_refused(store: Store, key: str) -> None:
    for operation in (store.head, store.read, lambda k: store.create(k, b""), lambda k: store.delete([k])):
        with pytest.raises(InvalidLocation):
            operation(key)


def test_a_key_is_never_the_folder_of_another(store: Store) -> None:
    store.put("p", b"x")
    with pytest.raises(InvalidLocation):
        store.create("p/x", b"y")
    assert store.read("p") == b"x"


def test_negative_ranges_are_a_programming_error(store: Store) -> None:
    with pytest.raises(ValueError, match="negative"):
        store.read("k", -1)


def test_traffic_counts_requests_and_payload(store: Store) -> None:
    store.put("k", b"12345")
    before = store.traffic
    store.read("k", 0, 3)
    cost = store.traffic.since(before)
    assert (cost.requests, cost.bytes_read, cost.bytes_written) == (1, 3, 0)


def test_an_object_is_itself_only_with_etag_size_and_time() -> None:
    info = ObjectInfo("k", 1, "e", datetime(2026, 1, 1, tzinfo=UTC))
    assert info.same_content_as(info)
    assert not info.same_content_as(None)
    # Somebody put the same bytes back: equal ETag and size, but not the object that was looked at.
    assert not info.same_content_as(ObjectInfo("k", 1, "e", datetime(2026, 1, 2, tzinfo=UTC)))
