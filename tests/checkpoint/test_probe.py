"""A probe finds every condition that a store takes silently and ignores, and leaves nothing behind."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.probe import PROBE_PREFIX, StoreAbilities, probe
from t2i_checkpoint.s3 import S3Store
from t2i_checkpoint.store import AccessDenied, AlreadyExists, Checksum, Credentials, NotSupported, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from t2i_checkpoint.local import LocalStore
    from t2i_checkpoint.store import ObjectInfo, Store

PROMISES = {field.name for field in fields(StoreAbilities)} - {"notes"}


def broken(abilities: StoreAbilities) -> set[str]:
    return {name for name in PROMISES if not getattr(abilities, name)}


def test_a_good_store_keeps_every_promise_and_nothing_is_left(store: Store) -> None:
    abilities = probe(store)
    assert (broken(abilities), abilities.notes) == (set(), ())
    assert abilities.safe_method is ArchiveMethod.MOVE
    assert abilities.warning(ArchiveMethod.MOVE) is None
    assert list(store.list("")) == []


class Worse:
    """A directory that breaks one promise."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class CreatesOver(Worse):
    def create(self, key: str, data: bytes) -> None:
        self.store.put(key, data)


class CreatesOverInARace(Worse):
    """Looks, then writes: right one at a time, as s3s-fs does it."""

    def create(self, key: str, data: bytes) -> None:
        there = self.store.head(key)
        time.sleep(0.01)
        if there is not None:
            raise AlreadyExists("there", uri=self.store.uri, operation="create", key=key, way_out="")
        self.store.put(key, data)


class CopiesWhatever(Worse):
    def copy(self, source_key: str, destination_key: str, *, source_etag: str, **options: Any) -> None:
        assert source_etag
        now = self.store.head(source_key)
        assert now is not None
        self.store.copy(source_key, destination_key, source_etag=now.etag, **options)


class CopiesOver(Worse):
    def copy(self, source_key: str, destination_key: str, *, create_only: bool = False, **options: Any) -> None:
        assert create_only in {True, False}
        self.store.copy(source_key, destination_key, **options)


class DeletesWhatever(Worse):
    def delete_unchanged(self, info: ObjectInfo) -> None:
        self.store.delete([info.key])


class HasNoConditionalDelete(Worse):
    def delete_unchanged(self, info: ObjectInfo) -> None:
        raise NotSupported("NotImplemented (501)", uri=self.store.uri, operation="delete", key=info.key, way_out="")


class ForgetsToDelete(Worse):
    def delete(self, keys: Iterable[str]) -> None:
        self.store.delete([key for key in keys if "gone" not in key])


class WithoutChecksums(Worse):
    def checksum(self, key: str) -> Checksum | None:
        assert key
        return None


class IgnoresRanges(Worse):
    def read(self, key: str, start: int = 0, length: int | None = None, **options: Any) -> bytes:
        return self.store.read(key, start and 0, length and None, **options)


class ListsOld(Worse):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(list(self.store.list(prefix))[:-1])


@pytest.mark.parametrize(
    ("kind", "breaks", "method"),
    [
        (CreatesOver, {"conditional_create", "conditional_create_under_race"}, ArchiveMethod.REFERENCE),
        (CreatesOverInARace, {"conditional_create_under_race"}, ArchiveMethod.REFERENCE),
        (CopiesWhatever, {"copy_source_condition", "multipart_copy"}, ArchiveMethod.REFERENCE),
        (CopiesOver, {"conditional_complete"}, ArchiveMethod.MOVE),
        (DeletesWhatever, {"conditional_delete"}, ArchiveMethod.REFERENCE),
        (HasNoConditionalDelete, {"conditional_delete"}, ArchiveMethod.REFERENCE),
        (ForgetsToDelete, {"delete_takes_effect"}, ArchiveMethod.REFERENCE),
        (WithoutChecksums, {"full_object_checksum"}, ArchiveMethod.MOVE),
        (IgnoresRanges, {"ranged_reads"}, ArchiveMethod.REFERENCE),
        (ListsOld, {"list_after_write"}, ArchiveMethod.MOVE),
    ],
)
def test_each_broken_promise_is_found(
    directory_store: LocalStore, kind: type[Worse], breaks: set[str], method: ArchiveMethod
) -> None:
    abilities = probe(kind(directory_store))
    assert broken(abilities) == breaks
    assert len(abilities.notes) == len(breaks)
    assert abilities.safe_method is method
    warning = abilities.warning(ArchiveMethod.MOVE)
    assert (warning is not None) == (method is ArchiveMethod.REFERENCE)
    assert abilities.warning(ArchiveMethod.REFERENCE) is None


def test_the_worst_s3_server_gets_a_reference_and_a_warning() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="a",
            aws_secret_access_key="b",  # moto checks none
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="t2i")
        store = S3Store("t2i", "run", endpoint=endpoint, credentials=Credentials("a", "b"))
        abilities = probe(store)
        assert {"copy_source_condition", "multipart_copy"} <= broken(abilities)
        assert abilities.safe_method is ArchiveMethod.REFERENCE
        assert "condition on a copy's source" in (abilities.warning(ArchiveMethod.MOVE) or "")
        assert list(store.list("")) == []
    finally:
        server.stop()


class BusyOnce(Worse):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.answered = False

    def copy(self, source_key: str, destination_key: str, **options: Any) -> None:
        if not self.answered:
            self.answered = True
            raise StoreUnavailable("SlowDown", uri=self.store.uri, operation="copy", key=source_key, way_out="Later")
        self.store.copy(source_key, destination_key, **options)


def test_a_store_that_is_busy_for_once_is_asked_again(directory_store: LocalStore) -> None:
    assert broken(probe(BusyOnce(directory_store))) == set()


class ReadOnly(Worse):
    def put(self, key: str, data: bytes) -> None:
        assert data
        raise AccessDenied("read only", uri=self.store.uri, operation="put", key=key, way_out="Check the policy")


def test_a_store_that_cannot_be_written_says_so_itself(directory_store: LocalStore) -> None:
    with pytest.raises(AccessDenied, match="read only"):
        probe(ReadOnly(directory_store))


class MayNotDelete(Worse):
    def delete(self, keys: Iterable[str]) -> None:
        raise AccessDenied("no", uri=self.store.uri, operation="delete", key=next(iter(keys), None), way_out="")


def test_a_missing_permission_is_no_answer(directory_store: LocalStore) -> None:
    # It was remembered as the store's fault, and every later job on it got Reference.
    with pytest.raises(AccessDenied, match=r"probe .* delete_takes_effect could not be tried .*no.*Grant .* Reference"):
        probe(MayNotDelete(directory_store))


class BusyFor(Worse):
    """Answers 503 to every copy."""

    def copy(self, source_key: str, destination_key: str, **options: Any) -> None:
        assert destination_key
        assert options
        raise StoreUnavailable("SlowDown", uri=self.store.uri, operation="copy", key=source_key, way_out="Later")


class BusyInARace(Worse):
    def create(self, key: str, data: bytes) -> None:
        if "race" in key:
            raise StoreUnavailable("SlowDown", uri=self.store.uri, operation="create", key=key, way_out="Later")
        self.store.create(key, data)


@pytest.mark.parametrize("kind", [BusyFor, BusyInARace])
def test_a_store_that_does_not_answer_is_not_judged(directory_store: LocalStore, kind: type[Worse]) -> None:
    with pytest.raises(StoreUnavailable, match=r"could not be tried .*SlowDown.*tried again") as caught:
        probe(kind(directory_store))
    assert not isinstance(caught.value, NotSupported)
    assert list(directory_store.list("")) == []


class Aged(Worse):
    """Everything is two hours old."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in self.store.list(prefix):
            yield replace(info, modified_at=info.modified_at - timedelta(hours=2))


def test_what_a_killed_probe_left_is_removed_by_a_later_one(directory_store: LocalStore) -> None:
    with pytest.raises(AccessDenied):
        probe(MayNotDelete(directory_store))
    assert list(directory_store.list(PROBE_PREFIX))
    directory_store.put("checkpoints/keep", b"x")
    probe(Aged(directory_store))
    assert [info.key for info in directory_store.list("")] == ["checkpoints/keep"]
