"""What a file system's error means: errno to our `StoreError` family; `local.py` calls it."""

from __future__ import annotations

import errno
from typing import NoReturn

from t2i_checkpoint.store import AccessDenied, AlreadyExists, InvalidLocation, NotFound, StoreUnavailable


def raise_translated(error: OSError, *, uri: str, key: str | None, operation: str) -> NoReturn:
    """Raise the `StoreError` that `error` means."""
    what = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT:
            raise NotFound("no such file", uri=uri, operation=operation, key=key, way_out="Check the path") from error
        case errno.EEXIST:
            raise AlreadyExists(
                "already there",
                uri=uri,
                operation=operation,
                key=key,
                way_out="Create-only files are never replaced",
            ) from error
        case errno.EACCES | errno.EPERM | errno.EROFS:
            raise AccessDenied(
                what, uri=uri, operation=operation, key=key, way_out="Check owner and mode of the directory"
            ) from error
        case errno.ENOTDIR | errno.EISDIR | errno.ENAMETOOLONG | errno.ELOOP:
            raise InvalidLocation(
                what, uri=uri, operation=operation, key=key, way_out="A key must not be the folder of another"
            ) from error
        case _:
            raise StoreUnavailable(
                what, uri=uri, operation=operation, key=key, way_out="Check the disk, then run again"
            ) from error
