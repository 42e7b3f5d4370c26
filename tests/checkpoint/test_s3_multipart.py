"""A copy in parts that was broken off is gone on with, by whoever comes next; nothing foreign is ever touched."""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.s3_answers import full_object_checksum
from t2i_checkpoint.s3_connection import S3Connection, S3Limits
from t2i_checkpoint.s3_multipart import PartsCopy, copy_in_parts
from t2i_checkpoint.s3_uploads import Destination, abort_uploads, end_noted_uploads
from t2i_checkpoint.store import AlreadyExists, Credentials, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_dev.s3_server import S3Server

MIB = 1024 * 1024
SIZE = 17 * MIB + 3  # four parts
SOURCE, TARGET = "checkpoint-5/weights", "archive/x/checkpoint-5/weights"


class Killed(BaseException):
    """The process is gone."""


class Listener:
    def __init__(self) -> None:
        self.moved_bytes = self.found_bytes = 0

    def moved(self, count: int) -> None:
        self.moved_bytes += count

    def found(self, count: int) -> None:
        self.found_bytes += count


@pytest.fixture
def connect(s3_server: S3Server) -> Callable[[], S3Connection]:
    """Each call is another process's view of one prefix."""
    prefix = f"multipart/{uuid.uuid4().hex}"
    credentials = Credentials(s3_server.access_key, s3_server.secret_key)
    limits = S3Limits(copy_part_size=5 * MIB, concurrency=2)

    def make() -> S3Connection:
        return S3Connection(
            s3_server.bucket, prefix, endpoint=s3_server.endpoint, credentials=credentials, region=None, limits=limits
        )

    return make


@pytest.fixture
def content(connect: Callable[[], S3Connection]) -> bytes:
    data = os.urandom(SIZE)
    connection = connect()
    connection.client.put_object(**connection.place(SOURCE), Body=data, ChecksumAlgorithm="CRC32")
    return data


OWN = Destination(TARGET, exclusive=True)
SHARED = Destination(TARGET)
NOTED = Destination(TARGET, notes="archive/x/uploads/")


def job(connection: S3Connection, listener: Listener | None = None, **changes: Any) -> PartsCopy:
    head: dict[str, Any] = dict(connection.client.head_object(**connection.place(SOURCE), ChecksumMode="ENABLED"))
    values: dict[str, Any] = {
        "source_key": SOURCE,
        "size": SIZE,
        "etag": head["ETag"].strip('"'),
        "checksum": full_object_checksum(head),
        "create_only": False,
        "destination": OWN,
        "listener": listener,
        **changes,
    }
    return PartsCopy(**values)


def read(connection: S3Connection, key: str = TARGET) -> bytes:
    return connection.client.get_object(**connection.place(key))["Body"].read()


def count_calls(connection: S3Connection, operation: str) -> list[int]:
    """Return a list whose only item is how often an operation was called from now on."""
    calls, lock = [0], threading.Lock()

    def count(**_: Any) -> None:
        with lock:
            calls[0] += 1

    connection.client.meta.events.register(f"before-call.s3.{operation}", count)
    return calls


def kill_at(connection: S3Connection, operation: str, number: int, *, after: bool = False) -> None:
    """Kill when `operation` is called for the `number`th time; the dead do nothing more."""
    calls, lock = [0], threading.Lock()

    def count(**_: Any) -> None:
        with lock:
            calls[0] += 1
            if calls[0] >= number:
                connection.client.meta.events.register("before-call.s3", die)
                raise Killed

    def die(**_: Any) -> None:
        raise Killed

    event = "after-call" if after else "before-call"
    connection.client.meta.events.register(f"{event}.s3.{operation}", count)


def open_uploads(connection: S3Connection) -> list[str]:
    answer = connection.client.list_multipart_uploads(Bucket=connection.bucket, Prefix=connection.root)
    return [upload["Key"].removeprefix(connection.root) for upload in answer.get("Uploads", [])]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_killed_at_any_part_the_next_process_copies_only_the_rest(
    connect: Callable[[], S3Connection], content: bytes, call: int, *, after: bool
) -> None:
    # The first call finds versitygw's false checksums, and another algorithm is used: calls 2 to 5 are parts 1 to 4.
    killed, second, listener = connect(), connect(), Listener()
    kill_at(killed, "UploadPartCopy", call, after=after)
    with pytest.raises(Killed):
        copy_in_parts(killed, job(killed))
    calls = count_calls(second, "UploadPartCopy")
    copy_in_parts(second, job(second, listener))
    assert read(second) == content
    assert listener.moved_bytes + listener.found_bytes == SIZE
    kept = max(0, call - 2 if not after else call - 1)
    if call > 1:
        assert calls[0] <= 4 - kept + 1  # one more if two threads were on their way
        assert listener.found_bytes >= (kept - 1) * 5 * MIB
    abort_uploads(second, "archive/x/")
    assert open_uploads(second) == []


def test_killed_before_completion_nothing_is_copied_again(connect: Callable[[], S3Connection], content: bytes) -> None:
    killed, second, listener = connect(), connect(), Listener()
    kill_at(killed, "CompleteMultipartUpload", 1)
    with pytest.raises(Killed):
        copy_in_parts(killed, job(killed))
    assert open_uploads(second) == [TARGET]
    copy_in_parts(second, job(second, listener))
    assert (listener.moved_bytes, listener.found_bytes) == (0, SIZE)
    assert read(second) == content


def test_killed_after_completion_the_object_is_there(connect: Callable[[], S3Connection], content: bytes) -> None:
    killed = connect()
    kill_at(killed, "CompleteMultipartUpload", 1, after=True)
    with pytest.raises(Killed):
        copy_in_parts(killed, job(killed))
    assert read(connect()) == content


def test_an_upload_that_another_process_ends_is_begun_again_or_found_complete(
    connect: Callable[[], S3Connection], content: bytes
) -> None:
    # A second process goes on with the same upload while the first stands still (SIGSTOP) before its completion.
    for end in (lambda c: copy_in_parts(c, job(c)), lambda c: abort_uploads(c, "archive/x/")):
        first, done = connect(), list[int]()

        def overtake(end: Callable[[S3Connection], object] = end, done: list[int] = done, **_: Any) -> None:
            if not done:
                done.append(1)
                end(connect())

        first.client.meta.events.register("before-call.s3.CompleteMultipartUpload", overtake)
        copy_in_parts(first, job(first))
        assert done
        assert read(first) == content
        assert open_uploads(first) == []


def test_an_upload_with_other_part_sizes_is_not_mixed_in(connect: Callable[[], S3Connection], content: bytes) -> None:
    other, second, listener = connect(), connect(), Listener()
    object.__setattr__(other, "limits", S3Limits(copy_part_size=6 * MIB, concurrency=1))
    kill_at(other, "CompleteMultipartUpload", 1)
    with pytest.raises(Killed):
        copy_in_parts(other, job(other))
    copy_in_parts(second, job(second, listener))
    assert listener.found_bytes == 0
    assert read(second) == content


def test_uploads_of_others_are_neither_used_nor_aborted(connect: Callable[[], S3Connection], content: bytes) -> None:
    connection = connect()
    foreign = {**connection.place(TARGET)}
    begun = connection.client.create_multipart_upload(**foreign, ChecksumAlgorithm="CRC64NVME")
    copy_in_parts(connection, job(connection, destination=SHARED))
    assert read(connection) == content
    neighbour = connection.place("archive/x2/weights")
    connection.client.create_multipart_upload(**neighbour, ChecksumAlgorithm="CRC64NVME")
    abort_uploads(connection, "archive/x2/other")
    assert sorted(open_uploads(connection)) == [TARGET, "archive/x2/weights"]
    connection.client.abort_multipart_upload(**foreign, UploadId=begun["UploadId"])


def test_an_upload_that_is_not_exclusive_is_aborted_when_it_fails(
    connect: Callable[[], S3Connection], content: bytes
) -> None:
    assert content
    connection = connect()
    with pytest.raises(connection.client.exceptions.ClientError):
        copy_in_parts(connection, job(connection, destination=SHARED, etag="0" * 32))
    assert open_uploads(connection) == []


def test_a_create_only_copy_replaces_nothing(connect: Callable[[], S3Connection], content: bytes) -> None:
    assert content
    connection = connect()
    connection.client.put_object(**connection.place(TARGET), Body=b"first")
    with pytest.raises(AlreadyExists):
        copy_in_parts(connection, job(connection, create_only=True, destination=SHARED))
    assert read(connection) == b"first"
    assert open_uploads(connection) == []


def test_an_answer_without_a_result_is_an_error(connect: Callable[[], S3Connection], content: bytes) -> None:
    assert content
    connection = connect()
    connection.client.meta.events.register(
        "after-call.s3.UploadPartCopy", lambda parsed, **_: parsed.pop("CopyPartResult", None)
    )
    with pytest.raises(StoreError, match="without a result"):
        copy_in_parts(connection, job(connection))


def objects(connection: S3Connection, prefix: str) -> list[str]:
    answer = connection.client.list_objects_v2(Bucket=connection.bucket, Prefix=connection.root + prefix)
    return [item["Key"].removeprefix(connection.root) for item in answer.get("Contents", [])]


@pytest.mark.parametrize("call", [2, 4, 5])
def test_where_others_may_upload_only_what_is_noted_is_gone_on_with(
    connect: Callable[[], S3Connection], content: bytes, call: int
) -> None:
    killed, second, listener = connect(), connect(), Listener()
    foreign = second.client.create_multipart_upload(**second.place(TARGET), ChecksumAlgorithm="CRC64NVME")["UploadId"]
    kill_at(killed, "UploadPartCopy", call, after=True)
    with pytest.raises(Killed):
        copy_in_parts(killed, job(killed, destination=NOTED, create_only=True))
    copy_in_parts(second, job(second, listener, destination=NOTED, create_only=True))
    assert read(second) == content
    assert listener.found_bytes >= (call - 2) * 5 * MIB
    end_noted_uploads(second, "archive/x/uploads/", [TARGET])
    assert objects(second, "archive/x/uploads/") == []
    assert open_uploads(second) == [TARGET]
    second.client.abort_multipart_upload(**second.place(TARGET), UploadId=foreign)  # still there, untouched


def test_noted_uploads_are_ended_and_nothing_else(connect: Callable[[], S3Connection], content: bytes) -> None:
    assert content
    killed, second = connect(), connect()
    kill_at(killed, "CompleteMultipartUpload", 1)
    with pytest.raises(Killed):
        copy_in_parts(killed, job(killed, destination=NOTED))
    second.client.put_object(**second.place("archive/x/uploads/readme.txt"), Body=b"no note")
    second.client.put_object(**second.place("archive/x/uploads/0000/x.json"), Body=b'{"uploadId": "x"}')
    end_noted_uploads(second, "archive/x/uploads/", ["another/key"])
    assert open_uploads(second) == [TARGET]
    end_noted_uploads(second, "archive/x/uploads/", [TARGET])
    assert open_uploads(second) == []
    assert objects(second, "archive/x/uploads/") == ["archive/x/uploads/0000/x.json", "archive/x/uploads/readme.txt"]


def test_a_completion_that_is_answered_too_early_is_waited_for(
    connect: Callable[[], S3Connection], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent again after the read timeout, versitygw 1.8 said 200 of an object of 5 GiB that was not there yet."""
    connection = connect()
    complete = connection.client.complete_multipart_upload
    late: list[threading.Timer] = []

    def answered_too_early(**request: Any) -> dict[str, Any]:
        late.append(threading.Timer(0.7, complete, kwargs=request))
        late[-1].start()
        return {"ETag": "early"}

    monkeypatch.setattr(connection.client, "complete_multipart_upload", answered_too_early)
    copy_in_parts(connection, job(connection))
    assert connection.client.get_object(**connection.place(TARGET))["Body"].read() == content
    late[-1].join()


def test_a_completed_copy_that_never_appears_is_an_error(
    connect: Callable[[], S3Connection], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert content
    connection = connect()
    connection.limits = replace(connection.limits, appears_within_seconds=0.1)
    monkeypatch.setattr(connection.client, "complete_multipart_upload", lambda **_request: {"ETag": "never"})
    with pytest.raises(StoreUnavailable, match="does not appear"):
        copy_in_parts(connection, job(connection))
