"""`S3Store`: any S3-compatible store through boto3 (the client itself is made in `s3_connection.py`).

Conditional create by `If-None-Match: *`, server-side copy with a condition on the *source* (conditions on the
destination are ignored by several stores, see `s3_copy.py`), uploads with a CRC32 over the whole file that the server
verifies. Every botocore error leaves as one of our `StoreError`s.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.s3_answers import content_type, crc32, full_object_checksum, object_info
from t2i_checkpoint.s3_connection import ClientError, S3Connection, S3Limits, error_status
from t2i_checkpoint.s3_copy import copy_object
from t2i_checkpoint.s3_errors import translate
from t2i_checkpoint.s3_uploads import Destination, abort_uploads, end_noted_uploads
from t2i_checkpoint.store import Checksum, NotSupported, ObjectInfo, StoreUnavailable, Traffic, check_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from t2i_checkpoint.store import CopyListener, Credentials, StoreListener

__all__ = ["S3Limits", "S3Store"]

_DELETE_BATCH = 1000  # DeleteObjects' limit
_READ_ATTEMPTS = 3
_NOT_FOUND, _PRECONDITION, _RANGE_NOT_SATISFIABLE = 404, 412, 416


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
        heard: StoreListener | None = None,
    ) -> None:
        self._connection = S3Connection(
            bucket,
            prefix,
            endpoint=endpoint,
            credentials=credentials,
            region=region,
            limits=limits or S3Limits(),
            heard=heard,
        )
        self._client = self._connection.client
        self._bucket, self._root, self._meter = self._connection.bucket, self._connection.root, self._connection.meter
        self._translated = self._connection.translated

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return self._connection.uri

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
                    yield object_info(key, item["Size"], item.get("ETag", ""), item["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def head(self, key: str) -> ObjectInfo | None:
        """HeadObject."""
        answer = self._head(key, {})
        if answer is None:
            return None
        return object_info(key, answer["ContentLength"], answer.get("ETag", ""), answer["LastModified"])

    def checksum(self, key: str) -> Checksum | None:
        """Return the stored full-object checksum; a composite one (a hash of part hashes) says nothing about a copy."""
        answer = self._head(key, {"ChecksumMode": "ENABLED"})
        return None if answer is None else full_object_checksum(answer)

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
        extra = {"ChecksumCRC32": crc32(path)}
        with self._translated("upload", key):
            self._client.upload_file(
                str(path),
                self._bucket,
                self._root + key,
                ExtraArgs=extra,
                Config=self._connection.transfer,
                Callback=self._sent,
            )

    def download(self, key: str, path: Path) -> None:
        """Ranged GETs in parallel; s3transfer renames when complete."""
        check_key(key, uri=self.uri, operation="download")
        with self._translated("download", key):
            self._client.download_file(
                self._bucket, self._root + key, str(path), Config=self._connection.transfer, Callback=self._received
            )

    def copy(  # noqa: PLR0913  # as the protocol has it
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
        """CopyObject, or UploadPartCopy above the size that CopyObject takes; both only if the source is unchanged."""
        check_key(source_key, uri=self.uri, operation="copy")
        check_key(destination_key, uri=self.uri, operation="copy")
        with self._translated("copy", source_key):
            copy_object(
                self._connection,
                source_key,
                Destination(destination_key, exclusive=exclusive, notes=notes),
                source_etag=source_etag,
                create_only=create_only,
                listener=listener,
            )

    def abort_uploads(self, prefix: str) -> int:
        """ListMultipartUploads and AbortMultipartUpload."""
        with self._translated("abort", prefix):
            return abort_uploads(self._connection, prefix)

    def end_noted_uploads(self, notes: str, keys: Iterable[str]) -> None:
        """AbortMultipartUpload and DeleteObject for each note."""
        with self._translated("abort", notes):
            end_noted_uploads(self._connection, notes, keys)

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

    def delete_unchanged(self, info: ObjectInfo) -> None:
        """DeleteObject with If-Match, which AWS and versitygw honour; never without it."""
        check_key(info.key, uri=self.uri, operation="delete")
        with self._translated("delete", info.key):
            try:
                self._client.delete_object(**self._connection.place(info.key), IfMatch=f'"{info.etag}"')
            except ClientError as error:
                # A deletion whose answer was lost is sent again and finds nothing.
                if error_status(error) not in {_NOT_FOUND, _PRECONDITION} or self.head(info.key) is not None:
                    raise

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
                if error_status(error) == _NOT_FOUND:
                    return None
                raise

    def _get(self, key: str, start: int, length: int | None, extra: dict[str, Any]) -> bytes:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._root + key, **extra)
        except ClientError as error:
            if error_status(error) == _RANGE_NOT_SATISFIABLE:
                return b""
            raise
        with contextlib.closing(answer["Body"]) as body:
            if start and not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
                raise NotSupported(
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
                Bucket=self._bucket,
                Key=self._root + key,
                Body=data,
                ChecksumAlgorithm="SHA256",
                ContentType=content_type(key),
                **extra,
            )
        self._sent(len(data))

    def _sent(self, count: int) -> None:
        self._meter.add(bytes_written=count)

    def _received(self, count: int) -> None:
        self._meter.add(bytes_read=count)
