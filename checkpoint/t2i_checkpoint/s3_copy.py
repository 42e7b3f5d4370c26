"""How an object is copied on the server's side: whole, in parts, or, if small and create-only, through the client.

Conditions on the *source* are what S3 stores agree on. A condition on the destination is ignored by several of them
on CopyObject, but honoured on PutObject and CompleteMultipartUpload: a create-only copy goes through those two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint.s3_answers import full_object_checksum
from t2i_checkpoint.s3_multipart import PartsCopy, copy_in_parts

if TYPE_CHECKING:
    from t2i_checkpoint.s3_connection import S3Connection
    from t2i_checkpoint.s3_uploads import Destination
    from t2i_checkpoint.store import CopyListener


def copy_object(  # noqa: PLR0913  # `Store.copy`, whose flags they are
    connection: S3Connection,
    source_key: str,
    destination: Destination,
    *,
    source_etag: str,
    create_only: bool,
    listener: CopyListener | None,
) -> None:
    """Copy if the source still has `source_etag`; raises botocore's errors, AlreadyExists and StoreUnavailable."""
    limits, client = connection.limits, connection.client
    source = connection.place(source_key)
    # Without a condition: that of the copy itself is the one that counts, and the one that a probe has to find.
    head: dict[str, Any] = dict(client.head_object(**source, ChecksumMode="ENABLED"))
    size, checksum = head["ContentLength"], full_object_checksum(head)
    if create_only and size <= limits.create_by_put_up_to:
        _create_through_client(connection, source_key, destination.key, source_etag)
    elif create_only or size > limits.multipart_copy_above:
        parts = PartsCopy(source_key, destination, size, source_etag, checksum, create_only, listener)
        copy_in_parts(connection, parts)
        return
    else:
        # A copy keeps its source's algorithm unless told otherwise: the two checksums then compare.
        named: dict[str, Any] = {} if checksum else {"ChecksumAlgorithm": "CRC64NVME"}
        with connection.copy_slots:
            answer = client.copy_object(
                **connection.place(destination.key),
                CopySource=source,  # type: ignore[arg-type]  # a TypedDict of exactly these two
                CopySourceIfMatch=f'"{source_etag}"',
                **named,
            )
        if "ETag" not in answer.get("CopyObjectResult", {}):
            raise connection.senseless("200 without a result", "copy", destination.key)
    if listener is not None:
        listener.moved(size)


def _create_through_client(connection: S3Connection, source_key: str, destination_key: str, etag: str) -> None:
    answer = connection.client.get_object(**connection.place(source_key), IfMatch=f'"{etag}"')
    body = answer["Body"].read(connection.limits.create_by_put_up_to + 1)
    connection.meter.add(bytes_read=len(body))
    if len(body) != answer["ContentLength"]:
        raise connection.unavailable(f"{len(body)} of {answer['ContentLength']} bytes came", "copy", source_key)
    with connection.translated("create", destination_key):
        connection.client.put_object(
            **connection.place(destination_key), Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256"
        )
    connection.meter.add(bytes_written=len(body))
