"""`S3Store`: any S3-compatible store through boto3; the only module that imports boto3.

Conditional create by `If-None-Match: *`, server-side copy with a condition on the *source* (conditions on the
destination are ignored by several stores and never used), uploads with a CRC32 over the whole file that the server
verifies. Every botocore error leaves as one of our `StoreError`s.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import threading
import zlib
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from t2i_checkpoint.s3_copy import copy_parts
from t2i_checkpoint.s3_errors import translate
from t2i_checkpoint.store import (
    READ_BLOCK_BYTES,
    AccessDenied,
    Checksum,
    ObjectInfo,
    StoreError,
    StoreUnavailable,
    Traffic,
    TrafficMeter,
    check_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from t2i_checkpoint.store import Credentials

_MIB = 1024 * 1024
_DELETE_BATCH = 1000  # DeleteObjects' limit
_READ_ATTEMPTS = 3
_RANGE_NOT_SATISFIABLE, _NOT_FOUND = 416, 404
_FULL_OBJECT_ALGORITHMS = ("CRC64NVME", "SHA256", "CRC32C", "CRC32", "SHA1")


@dataclass(frozen=True)
class S3Limits:
    """Sizes in bytes and counts that bound one store's use of network and memory."""

    multipart_copy_above: int = 4 * 1024 * _MIB  # CopyObject is refused above 5 GiB
    copy_part_size: int = 512 * _MIB
    upload_part_size: int = 64 * _MIB
    concurrency: int = 4


class S3Store:
    """Objects of `bucket` below `prefix` (may be empty)."""

    def __init__(  # noqa: PLR0913  # keyword-only: one call site, open.py
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        credentials: Credentials | None = None,
        region: str | None = None,
        limits: S3Limits | None = None,
    ) -> None:
        self._bucket = bucket
        self._root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._limits = limits or S3Limits()
        self._meter = TrafficMeter()
        self._client = _client(endpoint, credentials, region, self._limits.concurrency)
        self._client.meta.events.register("before-send.s3", self._count_request)
        self._transfer = TransferConfig(
            multipart_threshold=self._limits.upload_part_size,
            multipart_chunksize=self._limits.upload_part_size,
            max_concurrency=self._limits.concurrency,
        )

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._root}".rstrip("/")

    @property
    def traffic(self) -> Traffic:
        """Every HTTP request counts, retries too."""
        return self._meter.snapshot()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """ListObjectsV2, page by page."""
        token: dict[str, Any] = {}
        while True:
            with self._translated("list", prefix):
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._root + prefix, **token)
            for item in page.get("Contents", []):
                key = item["Key"].removeprefix(self._root)
                if not key.endswith("/"):  # a console's "folder" is an empty object that is nobody's checkpoint
                    yield _info(key, item["Size"], item["ETag"], item["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def head(self, key: str) -> ObjectInfo | None:
        """HeadObject."""
        answer = self._head(key, {})
        if answer is None:
            return None
        return _info(key, answer["ContentLength"], answer["ETag"], answer["LastModified"])

    def checksum(self, key: str) -> Checksum | None:
        """Return the stored full-object checksum; a composite one (a hash of part hashes) says nothing about a copy."""
        answer = self._head(key, {"ChecksumMode": "ENABLED"})
        return None if answer is None else _full_object_checksum(answer)

    def read(self, key: str, start: int = 0, length: int | None = None, *, etag: str | None = None) -> bytes:
        """GetObject with a Range; at most `length` bytes are taken whatever the server sends."""
        check_key(key, uri=self.uri, operation="read")
        if start < 0 or (length is not None and length < 0):
            raise ValueError(f"range must not be negative: start={start}, length={length}")
        if length == 0:
            return b""
        extra: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        if start or length is not None:
            extra["Range"] = f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"
        for attempt in range(_READ_ATTEMPTS):
            try:
                with self._translated("read", key):
                    return self._get(key, start, length, extra)
            except StoreUnavailable:
                # botocore retries the request but not a body that breaks off.
                if attempt == _READ_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable: the loop returns or raises")

    def create(self, key: str, data: bytes) -> None:
        """PutObject with `If-None-Match: *`."""
        self._put(key, data, "create", {"IfNoneMatch": "*"})

    def put(self, key: str, data: bytes) -> None:
        """PutObject."""
        self._put(key, data, "put", {})

    def upload(self, key: str, path: Path) -> None:
        """Multipart upload; the server compares its own CRC32 of the whole object with ours."""
        check_key(key, uri=self.uri, operation="upload")
        extra = {"ChecksumCRC32": _crc32(path)}
        with self._translated("upload", key):
            self._client.upload_file(
                str(path), self._bucket, self._root + key, ExtraArgs=extra, Config=self._transfer, Callback=self._sent
            )

    def download(self, key: str, path: Path) -> None:
        """Ranged GETs in parallel; s3transfer renames when complete."""
        check_key(key, uri=self.uri, operation="download")
        with self._translated("download", key):
            self._client.download_file(
                self._bucket, self._root + key, str(path), Config=self._transfer, Callback=self._received
            )

    def copy(self, source_key: str, destination_key: str, *, source_etag: str) -> None:
        """CopyObject, or UploadPartCopy above the size that CopyObject takes; both only if the source is unchanged."""
        check_key(source_key, uri=self.uri, operation="copy")
        check_key(destination_key, uri=self.uri, operation="copy")
        source: dict[str, Any] = {"Bucket": self._bucket, "Key": self._root + source_key}
        with self._translated("copy", source_key):
            head: dict[str, Any] = self._client.head_object(  # type: ignore[assignment]  # a TypedDict
                **source, IfMatch=f'"{source_etag}"', ChecksumMode="ENABLED"
            )
            checksum = _full_object_checksum(head)
            target: dict[str, Any] = {"Bucket": self._bucket, "Key": self._root + destination_key}
            if head["ContentLength"] > self._limits.multipart_copy_above:
                copy_parts(
                    self._client,
                    source,
                    target,
                    size=head["ContentLength"],
                    etag=source_etag,
                    part_size=self._limits.copy_part_size,
                    checksum=checksum,
                )
                return
            # A copy keeps its source's algorithm unless told otherwise: the two checksums then compare.
            named: dict[str, Any] = {} if checksum else {"ChecksumAlgorithm": "CRC64NVME"}
            answer: dict[str, Any] = self._client.copy_object(  # type: ignore[assignment]  # a TypedDict
                **target,
                CopySource=source,  # type: ignore[arg-type]  # a TypedDict of exactly these two
                CopySourceIfMatch=f'"{source_etag}"',
                **named,
            )
            if "CopyObjectResult" not in answer:
                raise StoreUnavailable(
                    "200 without a result", uri=self.uri, operation="copy", key=source_key, way_out="Run again"
                )

    def delete(self, keys: Iterable[str]) -> None:
        """DeleteObjects in batches; an error of any key is raised."""
        batch: list[str] = []
        for key in keys:
            check_key(key, uri=self.uri, operation="delete")
            batch.append(key)
            if len(batch) == _DELETE_BATCH:
                self._delete_batch(batch)
                batch.clear()
        if batch:
            self._delete_batch(batch)

    def _delete_batch(self, keys: Sequence[str]) -> None:
        with self._translated("delete", keys[0]):
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": [{"Key": self._root + key} for key in keys], "Quiet": True}
            )
        for error in answer.get("Errors", []):
            key = error.get("Key", "?").removeprefix(self._root)
            code, message = error.get("Code", "?"), error.get("Message", "")
            raise translate(code, 0, message, uri=self.uri, operation="delete", key=key)

    def _head(self, key: str, extra: dict[str, Any]) -> dict[str, Any] | None:
        check_key(key, uri=self.uri, operation="head")
        with self._translated("head", key):
            try:
                return dict(self._client.head_object(Bucket=self._bucket, Key=self._root + key, **extra))
            except ClientError as error:
                # A HEAD has no body: a missing bucket looks the same and shows at the first list.
                if _status(error) == _NOT_FOUND:
                    return None
                raise

    def _get(self, key: str, start: int, length: int | None, extra: dict[str, Any]) -> bytes:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._root + key, **extra)
        except ClientError as error:
            if _status(error) == _RANGE_NOT_SATISFIABLE:
                return b""
            raise
        with contextlib.closing(answer["Body"]) as body:
            if start and not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
                raise StoreUnavailable(
                    "the store ignored the Range header",
                    uri=self.uri,
                    operation="read",
                    key=key,
                    way_out="Headers cannot be read without ranged reads; use a store that honours them",
                )
            wanted = answer["ContentLength"] if length is None else min(length, answer["ContentLength"])
            data = body.read(wanted)
        self._meter.add(bytes_read=len(data))
        if len(data) != wanted:
            raise StoreUnavailable(
                f"{len(data)} of {wanted} bytes came", uri=self.uri, operation="read", key=key, way_out="Run again"
            )
        return data

    def _put(self, key: str, data: bytes, operation: str, extra: dict[str, Any]) -> None:
        check_key(key, uri=self.uri, operation=operation)
        with self._translated(operation, key):
            self._client.put_object(
                Bucket=self._bucket, Key=self._root + key, Body=data, ChecksumAlgorithm="SHA256", **extra
            )
        self._sent(len(data))

    def _count_request(self, **_event: Any) -> None:
        self._meter.add(requests=1)

    def _sent(self, count: int) -> None:
        self._meter.add(bytes_written=count)

    def _received(self, count: int) -> None:
        self._meter.add(bytes_read=count)

    @contextlib.contextmanager
    def _translated(self, operation: str, key: str | None) -> Iterator[None]:
        place: dict[str, Any] = {"uri": self.uri, "operation": operation, "key": key}
        try:
            yield
        except StoreError:
            raise
        except ClientError as error:
            detail = error.response.get("Error", {})
            code, message = detail.get("Code", "?"), detail.get("Message", "")
            raise translate(code, _status(error), message, **place) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise AccessDenied(
                str(error), **place, way_out="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except (BotoCoreError, boto3.exceptions.Boto3Error, OSError) as error:
            raise StoreUnavailable(
                f"{type(error).__name__}: {error}", **place, way_out="Check that the endpoint is reachable"
            ) from error


def _client(endpoint: str | None, credentials: Credentials | None, region: str | None, concurrency: int) -> S3Client:
    config = Config(
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=max(10, 2 * concurrency),
        # A custom endpoint rarely has a DNS name for every bucket.
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    keys: dict[str, Any] = {}
    if credentials is not None:
        keys = {
            "aws_access_key_id": credentials.access_key_id,
            "aws_secret_access_key": credentials.secret_access_key,
            "aws_session_token": credentials.session_token,
        }
    # boto3 makes clients safely in one thread at a time only; the clients themselves may be shared.
    with _MAKING_CLIENT:
        return _session().client("s3", region_name=region or "us-east-1", endpoint_url=endpoint, config=config, **keys)


_MAKING_CLIENT = threading.Lock()


@functools.cache
def _session() -> boto3.session.Session:
    """Return the session of this process: S3's service model costs 12 MB in every session, nothing in a shared one."""
    return boto3.session.Session()


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _info(key: str, size: int, etag: str, modified_at: datetime) -> ObjectInfo:
    # Some stores list fractions of a second that HEAD's header cannot carry.
    return ObjectInfo(key, size, etag.strip('"'), modified_at.astimezone(UTC).replace(microsecond=0))


def _full_object_checksum(head: dict[str, Any]) -> Checksum | None:
    composite = head.get("ChecksumType") == "COMPOSITE"
    for algorithm in _FULL_OBJECT_ALGORITHMS:
        value = head.get(f"Checksum{algorithm}")
        if value and not composite and "-" not in value:
            return Checksum(algorithm, value)
    return None


def _crc32(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while block := file.read(READ_BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return base64.b64encode(value.to_bytes(4, "big")).decode()
