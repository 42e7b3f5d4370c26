"""Server-side copy in parts: UploadPartCopy, several at a time, every part conditional on the source.

Killed midway, the parts stay at the server. The next process finds the open upload (`s3_uploads.py`), asks which parts
it holds (ListParts) and copies only the rest. Two processes may work on the same upload: equal parts replace each
other, and whoever completes it first ends it for both.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.parallel import run_all
from t2i_checkpoint.s3_connection import ClientError, error_status
from t2i_checkpoint.s3_uploads import (
    Destination,
    Part,
    abort_upload,
    begin_upload,
    describe_part,
    has_ended,
    has_whole_checksum,
    own_uploads,
    plan_parts,
    resumable,
)
from t2i_checkpoint.store import AlreadyExists

if TYPE_CHECKING:
    from t2i_checkpoint.s3_connection import S3Connection
    from t2i_checkpoint.store import Checksum, CopyListener

_COMBINABLE = {"CRC64NVME", "CRC32", "CRC32C"}
_ATTEMPTS = 3
_POLL_SECONDS = 0.2
# These end an upload for good: the source is another one, or something lies at the destination already.
_NOT_FOUND, _PRECONDITION_FAILED = 404, 412
_FINAL_STATUS = {403, _NOT_FOUND, _PRECONDITION_FAILED}


class _EndedByAnother(Exception):  # noqa: N818  # what happened, handled in this module
    """Another process completed or aborted the upload."""


class _FalseChecksums(Exception):  # noqa: N818
    """The server gave every part the checksum of the whole source; completing would store a wrong one."""


@dataclass(frozen=True)
class PartsCopy:
    """What to copy: `size` bytes whose ETag is `etag`. See `Store.copy` for the flags."""

    source_key: str
    destination: Destination
    size: int
    etag: str
    checksum: Checksum | None
    create_only: bool
    listener: CopyListener | None


def copy_in_parts(connection: S3Connection, job: PartsCopy) -> None:
    """Copy; nothing appears at the destination until all parts are there.

    The checksum algorithm is named on creation: several stores otherwise answer InvalidPart at the end. The source's
    own algorithm makes source and copy comparable without reading either; versitygw 1.8 however gives every part the
    checksum of the *whole* source then. That answer is recognised and another algorithm used.
    """
    algorithms = _algorithms(job.checksum)
    if job.destination.can_go_on:
        # Where the first choice failed before, the broken-off upload has the second.
        begun = {upload.algorithm for upload in own_uploads(connection, job.destination)}
        algorithms.sort(key=lambda algorithm: algorithm not in begun)
    for algorithm in algorithms:
        for _ in range(_ATTEMPTS):
            try:
                _copy_once(connection, job, algorithm)
            except _FalseChecksums:
                break
            except _EndedByAnother:
                # The caller verifies what lies there; if nothing does, begin again.
                if _exists(connection, job.destination.key):
                    if job.create_only:
                        raise _taken(connection, job.destination.key) from None
                    return
            else:
                _wait_until_there(connection, job.destination.key)
                return
    raise connection.unavailable("the multipart copy was ended by another process", "copy", job.destination.key)


def _copy_once(connection: S3Connection, job: PartsCopy, algorithm: str) -> None:
    plan = plan_parts(job.size, connection.limits.copy_part_size)
    upload_id, done = resumable(connection, job.destination, algorithm, plan, job.checksum)
    if upload_id is None:
        upload_id = begin_upload(connection, job.destination, algorithm)
    upload = _Upload(connection, job, upload_id, several=len(plan) > 1)
    upload.found(sum(part.size for part in plan if part.number in done))
    try:
        missing = [part for part in plan if part.number not in done]
        if not done:
            # One alone tells whether the server's checksums are true, before four are copied in vain.
            first = missing.pop(0)
            done[first.number] = upload.copy_part(first)
        copied = run_all(upload.copy_part, missing, workers=connection.limits.concurrency)
        done |= {part.number: answer for part, answer in zip(missing, copied, strict=True)}
        upload.complete([done[part.number] for part in plan])
    except BaseException as error:
        upload.take_back()
        if has_ended(error):
            raise _EndedByAnother from error
        # An own upload may be gone on with later, unless it can never be completed; parts of others are paid for.
        if not job.destination.can_go_on or isinstance(error, _FalseChecksums | AlreadyExists) or _is_final(error):
            abort_upload(connection, job.destination.key, upload_id)
        raise


class _Upload:
    """One multipart upload under way."""

    def __init__(self, connection: S3Connection, job: PartsCopy, upload_id: str, *, several: bool) -> None:
        self._connection, self._job, self._several = connection, job, several
        self._target = {**connection.place(job.destination.key), "UploadId": upload_id}
        self._told = 0
        self._lock = threading.Lock()

    def found(self, size: int) -> None:
        """Tell of parts that were there already."""
        if self._job.listener is not None:
            self._told += size
            self._job.listener.found(size)

    def take_back(self) -> None:
        """Tell that nothing of it counts: it failed."""
        if self._job.listener is not None:
            self._job.listener.moved(-self._told)

    def copy_part(self, part: Part) -> dict[str, Any]:
        """Copy one part; returns what CompleteMultipartUpload wants to hear of it."""
        job = self._job
        with self._connection.copy_slots:
            answer: dict[str, Any] = self._connection.client.upload_part_copy(  # type: ignore[assignment]  # a TypedDict
                **self._target,
                PartNumber=part.number,
                CopySource=self._connection.place(job.source_key),  # type: ignore[arg-type]  # exactly these two
                CopySourceIfMatch=f'"{job.etag}"',
                CopySourceRange=f"bytes={part.start}-{part.end - 1}",
            )
        result = answer.get("CopyPartResult", {})
        if "ETag" not in result:
            raise self._connection.senseless("200 without a result", "copy", job.destination.key)
        described = describe_part(part.number, result)
        if self._several and has_whole_checksum(described, job.checksum):
            raise _FalseChecksums
        if job.listener is not None:
            with self._lock:
                self._told += part.size
            job.listener.moved(part.size)
        return described

    def complete(self, parts: list[dict[str, Any]]) -> None:
        """Make the object appear; AlreadyExists if that would replace something and must not."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if self._job.create_only else {}
        try:
            answer = self._connection.client.complete_multipart_upload(
                **self._target,
                ChecksumType="FULL_OBJECT",
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # built by describe_part
                **condition,
            )
        except ClientError as error:
            if self._job.create_only and error_status(error) == _PRECONDITION_FAILED:
                raise _taken(self._connection, self._job.destination.key) from error
            raise
        if "ETag" not in answer:
            raise self._connection.senseless("200 without a result", "copy", self._job.destination.key)


def _algorithms(checksum: Checksum | None) -> list[str]:
    """Return what to try; only the CRCs can be combined from parts into a full-object checksum."""
    if checksum is not None and checksum.algorithm in _COMBINABLE:
        return [checksum.algorithm, "CRC32" if checksum.algorithm == "CRC64NVME" else "CRC64NVME"]
    return ["CRC64NVME"]


def _exists(connection: S3Connection, key: str) -> bool:
    try:
        connection.client.head_object(**connection.place(key))
    except ClientError as error:
        if error_status(error) == _NOT_FOUND:
            return False
        raise
    return True


def _wait_until_there(connection: S3Connection, key: str) -> None:
    """Return once the completed object can be seen.

    A completion that outlasts the read timeout is sent again, and versitygw 1.8 answers the second request 200 while
    the first still puts the parts together.
    """
    deadline = time.monotonic() + connection.limits.appears_within_seconds
    while not _exists(connection, key):
        if time.monotonic() > deadline:
            what = "the server said that the multipart copy is complete, but the object does not appear"
            raise connection.unavailable(what, "copy", key)
        time.sleep(_POLL_SECONDS)


def _taken(connection: S3Connection, key: str) -> AlreadyExists:
    way_out = "Create-only objects are never replaced"
    return AlreadyExists("already there", uri=connection.uri, operation="create", key=key, way_out=way_out)


def _is_final(error: BaseException) -> bool:
    return isinstance(error, ClientError) and error_status(error) in _FINAL_STATUS
