"""Answers that the proxy gives in the server's place, as S3 words them. Pure.

Sources: Amazon S3 API reference, "Error responses", CopyObject, DeleteObjects and ListObjectsV2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape

from t2i_dev.faults.requests import S3Request

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object as a listing showed it earlier; the ETag with its quotes."""

    key: str
    size: int
    etag: str
    modified_at: datetime


def error(code: str) -> bytes:
    """Return the body of an error answer."""
    return f"{_DECLARATION}<Error><Code>{code}</Code><Message>by the fault proxy</Message></Error>".encode()


def error_in_ok(request: S3Request, code: str) -> bytes:
    """Return the body of a 200 that reports an error: of the whole, or of every key for DeleteObjects."""
    if request.action != "DeleteObjects":
        return error(code)
    errors = "".join(
        f"<Error><Key>{escape(key)}</Key><Code>{code}</Code><Message>by the fault proxy</Message></Error>"
        for key in request.keys
    )
    return f'{_DECLARATION}<DeleteResult xmlns="{_NAMESPACE}">{errors}</DeleteResult>'.encode()


def listing(prefix: str, objects: Iterable[ListedObject]) -> bytes:
    """Return a complete ListObjectsV2 answer with those of `objects` that `prefix` selects."""
    contents = "".join(
        f"<Contents><Key>{escape(each.key)}</Key><LastModified>{each.modified_at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        f"<ETag>{escape(each.etag)}</ETag><Size>{each.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for each in sorted(objects, key=lambda each: each.key)
        if each.key.startswith(prefix)
    )
    return (
        f'{_DECLARATION}<ListBucketResult xmlns="{_NAMESPACE}"><Prefix>{escape(prefix)}</Prefix>'
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    ).encode()
