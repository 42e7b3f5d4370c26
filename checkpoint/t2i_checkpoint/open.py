"""From a URI to a `Store`: the one place where location, endpoint and credentials are checked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from t2i_checkpoint.layout import WEIGHTS_SUFFIXES
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import InvalidLocation, check_key

if TYPE_CHECKING:
    from t2i_checkpoint.store import Credentials, Store, StoreListener

PICTURE_SUFFIXES = (".tar", ".parquet")
"""Endings of files that hold a set of captioned pictures each."""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(
    uri: str,
    *,
    endpoint: str | None = None,
    credentials: Credentials | None = None,
    region: str | None = None,
    heard: StoreListener | None = None,
) -> Store:
    """Open `s3://bucket/prefix` or `file:///directory`; without credentials boto3's default chain applies.

    `heard` is told of every request to an S3 server. Nothing is sent yet. Raises InvalidLocation naming the part that
    cannot be right.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in {"s3", "file"}:
        raise _invalid(uri, "the scheme is neither s3:// nor file://", "Write s3://bucket/prefix or file:///directory")
    if scheme == "file":
        return _open_directory(uri, rest)
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        way_out = "Bucket names are 3-63 lower-case letters, digits, '-' and '.'"
        raise _invalid(uri, f"{bucket!r} cannot be a bucket", way_out)
    if prefix.strip("/"):
        check_key(prefix.strip("/"), uri=f"s3://{bucket}", operation="open")
    if endpoint is not None:
        _check_endpoint(uri, endpoint)
    from t2i_checkpoint.s3 import S3Store  # noqa: PLC0415  # boto3 costs 0.3 s and is an extra: only when it is used

    return S3Store(bucket, prefix, endpoint=endpoint, credentials=credentials, region=region, heard=heard)


@dataclass(frozen=True)
class Location:
    """What a URI or path names: a store, and the key of a single file in it; `key` is None for a folder."""

    store: Store
    key: str | None = None


def open_location(  # noqa: PLR0913  # keyword-only facts with defaults
    uri_or_path: str,
    *,
    suffixes: tuple[str, ...] = WEIGHTS_SUFFIXES,
    endpoint: str | None = None,
    credentials: Credentials | None = None,
    region: str | None = None,
    heard: StoreListener | None = None,
) -> Location:
    """Open what people write on a command line: `s3://…`, `file://…`, a path; a folder or one file.

    A last part that ends in one of `suffixes` is a file: its folder becomes the store's root, its name the key.
    Nothing is sent yet. Raises InvalidLocation naming the part that cannot be right.
    """
    uri = uri_or_path if "://" in uri_or_path else _path_uri(uri_or_path)
    parent, separator, name = uri.rpartition("/")
    if separator and name.lower().endswith(suffixes) and not parent.endswith("/") and not _is_folder(uri):
        key = unquote(name) if uri.startswith("file://") else name
        return Location(open_store(parent, endpoint=endpoint, credentials=credentials, region=region, heard=heard), key)
    return Location(open_store(uri, endpoint=endpoint, credentials=credentials, region=region, heard=heard))


def _path_uri(path: str) -> str:
    if not path.strip():
        raise _invalid(path, "an empty path", "Write s3://bucket/prefix, or the path of a folder or file")
    return Path(os.path.abspath(Path(path).expanduser())).as_uri()  # noqa: PTH100  # `..` is taken out, links are kept


def _is_folder(uri: str) -> bool:
    """Whether a local folder is named like a weights file, as folders of torch.distributed.checkpoint often are."""
    return uri.startswith("file://") and Path(unquote(uri.removeprefix("file://"))).is_dir()


def _open_directory(uri: str, rest: str) -> Store:
    path = Path(unquote(rest))
    if not path.is_absolute() or ".." in path.parts or path == Path("/"):
        raise _invalid(uri, "the directory is not an absolute path below the root", "Write file:///full/path")
    return LocalStore(path)


def _check_endpoint(uri: str, endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        raise _invalid(uri, f"endpoint {endpoint!r}: {error}", "Write https://host:port") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise _invalid(uri, f"endpoint {endpoint!r} is no http(s) URL", "Write https://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise _invalid(uri, "the endpoint carries credentials or a query", "Give credentials by Secret or environment")


def _invalid(uri: str, what: str, way_out: str) -> InvalidLocation:
    return InvalidLocation(what, uri=uri, operation="open", way_out=way_out)
