"""Each fault does what its name says, to a real client of the real S3 server, and to nobody else."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.s3 import S3Store
from t2i_checkpoint.store import Credentials, StoreError
from t2i_dev.crash.impatience import hurry
from t2i_dev.faults import EndingKind, Fault, FaultProxy, ForkedClient, ListedObject, PlannedFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from t2i_dev.s3_server import S3Server

DONE, REFUSED, KILLED = EndingKind.DONE, EndingKind.REFUSED, EndingKind.KILLED
# A create-only write: fault, how the client ends, whether the object is there, how often the server was asked.
CREATED = [
    (Fault.KILLED_BEFORE, KILLED, False, 0),
    (Fault.KILLED_AFTER, KILLED, True, 1),
    (Fault.LOST_REQUEST, DONE, True, 1),
    (Fault.LOST_ANSWER, REFUSED, True, 2),
    (Fault.TIMEOUT, DONE, True, 1),
    (Fault.TIMEOUT_AFTER, REFUSED, True, 2),
    (Fault.CONFLICT, REFUSED, False, 0),
    (Fault.PRECONDITION, REFUSED, False, 0),
    (Fault.INTERNAL_ERROR, DONE, True, 1),
    (Fault.INTERNAL_ERROR_AFTER, REFUSED, True, 2),
    (Fault.SLOW_DOWN, DONE, True, 1),
    (Fault.OUTAGE, REFUSED, False, 0),
    (Fault.TWICE, REFUSED, True, 2),
    (Fault.LATE_AGAIN, DONE, True, 2),
]


class Bench:
    """A proxy, a prefix of its own, and a way round the proxy."""

    def __init__(self, server: S3Server, proxy: FaultProxy) -> None:
        self._server, self.proxy = server, proxy
        self._prefix = f"test-faults/{uuid.uuid4().hex}"
        self.direct = self.open(server.endpoint)
        self.executions = 0

    def open(self, endpoint: str) -> S3Store:
        keys = Credentials(self._server.access_key, self._server.secret_key)
        return S3Store(self._server.bucket, self._prefix, endpoint=endpoint, credentials=keys)

    def fork(self, work: Callable[[S3Store], None]) -> ForkedClient:
        def live() -> None:
            hurry(0.7)
            work(self.open(self.proxy.endpoint))

        return ForkedClient.fork(live, refusals=(StoreError,))

    def run(self, work: Callable[[S3Store], None], fault: Fault, at: int = 1) -> EndingKind:
        client = self.fork(work)
        earlier = tuple(
            ListedObject(f"{self._prefix}/{info.key}", info.size, f'"{info.etag}"', info.modified_at)
            for info in self.direct.list("")
        )
        self.proxy.begin(client.pid, PlannedFault(fault, at), watch=self.count, earlier=earlier)
        client.go()
        ending = client.wait(30)
        assert self.proxy.end().has_struck
        return ending.kind

    def count(self, _request: object) -> None:
        self.executions += 1


@pytest.fixture
def bench(s3_server: S3Server) -> Iterator[Bench]:
    with FaultProxy(s3_server.endpoint) as proxy:
        yield Bench(s3_server, proxy)


@pytest.mark.parametrize(("fault", "ending", "there", "executions"), CREATED)
def test_a_create_meets(bench: Bench, fault: Fault, ending: EndingKind, there: bool, executions: int) -> None:  # noqa: FBT001
    assert bench.run(lambda store: store.create("a", b"content"), fault) is ending
    assert (bench.direct.head("a") is not None) is there
    assert bench.executions == executions


def test_an_error_for_every_key_comes_in_a_200(bench: Bench) -> None:
    bench.direct.put("a", b"")
    assert bench.run(lambda store: store.delete(["a"]), Fault.ERROR_IN_OK) is REFUSED
    assert bench.direct.head("a") is not None


def test_a_stale_listing_shows_what_was_there_when_the_client_began(bench: Bench) -> None:
    bench.direct.put("old", b"1")

    def work(store: S3Store) -> None:
        store.put("new", b"2")
        assert [info.key for info in store.list("")] == ["old"]
        assert [info.key for info in store.list("")] == ["new", "old"]

    assert bench.run(work, Fault.STALE_LIST) is DONE


def test_only_the_chosen_side_effect_is_struck_and_reads_are_none(bench: Bench) -> None:
    def work(store: S3Store) -> None:
        store.create("a", b"1")
        store.read("a")
        store.create("b", b"2")
        store.create("c", b"3")

    assert bench.run(work, Fault.KILLED_BEFORE, at=2) is KILLED
    assert [info.key for info in bench.direct.list("")] == ["a"]


def test_a_stopped_client_goes_on_when_it_is_released(bench: Bench) -> None:
    client = bench.fork(lambda store: store.create("a", b"late"))
    bench.proxy.begin(client.pid, PlannedFault(Fault.STOPPED_BEFORE, 1))
    client.go()
    assert bench.proxy.wait_stopped(30)
    assert bench.direct.head("a") is None
    bench.direct.create("b", b"meanwhile")
    bench.proxy.release()
    assert client.wait(30).kind is DONE
    assert bench.direct.read("a") == b"late"
    bench.proxy.end()


def test_what_the_watcher_finds_reaches_the_test(bench: Bench) -> None:
    def watch(_request: object) -> None:
        raise ValueError("found")

    client = bench.fork(lambda store: store.put("a", b""))
    bench.proxy.begin(client.pid, None, watch=watch)
    client.go()
    assert client.wait(30).kind is DONE
    with pytest.raises(ValueError, match="found"):
        bench.proxy.end()


def test_a_crash_of_the_client_is_told_from_a_refusal(bench: Bench) -> None:
    def work(_store: S3Store) -> None:
        raise KeyError("a bug")

    client = bench.fork(work)
    client.go()
    ending = client.wait(30)
    assert ending.kind is EndingKind.CRASHED
    assert "KeyError: 'a bug'" in ending.said
