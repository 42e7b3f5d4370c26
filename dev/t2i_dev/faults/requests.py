"""What an S3 request does: its action, the keys that it may change, whether it has a side effect. Pure.

Path-style addressing only (`/bucket/key`), which is what clients use with an endpoint of their own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import unescape

_DELETED_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
_READS = {"GET", "HEAD"}


@dataclass(frozen=True, slots=True)
class S3Request:
    """One request; `keys` are what it may change, `invocation` is the same for all attempts of one client call."""

    action: str
    keys: tuple[str, ...]
    is_effect: bool
    invocation: str
    prefix: str = ""  # of a listing

    def __str__(self) -> str:
        return f"{self.action} {self.keys[0]}" if self.keys else self.action


def describe(method: str, raw_path: str, headers: Mapping[str, str], body: bytes) -> S3Request:
    """Read one request off the wire; an unknown one keeps its HTTP method as the action's name."""
    parts = urlsplit(raw_path)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    _, _, key = unquote(parts.path).removeprefix("/").partition("/")
    action = _action(method, query, key, copies="x-amz-copy-source" in headers)
    keys: tuple[str, ...] = (key,) if key else ()
    if action == "DeleteObjects":
        keys = tuple(unescape(found) for found in _DELETED_KEY.findall(body.decode()))
    invocation = headers.get("amz-sdk-invocation-id", "")
    return S3Request(action, keys, method not in _READS, invocation, query.get("prefix", ""))


def _action(method: str, query: Mapping[str, str], key: str, *, copies: bool) -> str:
    if not key:
        return _bucket_action(method, query)
    if "uploadId" in query:
        part = "UploadPartCopy" if copies else "UploadPart"
        of_upload = {
            "PUT": part,
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
            "GET": "ListParts",
        }
        return of_upload.get(method, method)
    if method == "POST" and "uploads" in query:
        return "CreateMultipartUpload"
    put = "CopyObject" if copies else "PutObject"
    of_object = {"PUT": put, "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
    return of_object.get(method, method)


def _bucket_action(method: str, query: Mapping[str, str]) -> str:
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    if method == "GET" and "uploads" in query:
        return "ListMultipartUploads"
    if method == "GET" and "list-type" in query:
        return "ListObjectsV2"
    return method
