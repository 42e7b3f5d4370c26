"""Walks a directory as S3 lists keys: in key order, one folder's names in memory at a time, nothing through links.

A link to a folder is refused, not followed: through it the same file would be found under two keys, and a checkpoint
that is archived under one of them would lose its bytes under the other. Passing it by would be no better: a checkpoint
would be missed, or seem incomplete. Links to files are files: a deletion takes the link.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from t2i_checkpoint.store import InvalidLocation

if TYPE_CHECKING:
    from collections.abc import Iterator


def keys_below(root: Path, prefix: str, *, without: str) -> Iterator[str]:
    """Yield the keys of all files that start with `prefix`, in key order, but not what lies in the folder `without`.

    Raises InvalidLocation for a link to a folder that the prefix leads to, OSError for a folder that cannot be read.
    """
    waiting = [_matching(root, "", prefix, without)]
    while waiting:
        key = next(waiting[-1], None)
        if key is None:
            waiting.pop()
        elif key.endswith("/"):
            waiting.append(_matching(root, key, prefix, without))
        else:
            yield key


def expect_no_linked_folder(root: Path, key: str, operation: str) -> None:
    """Raise InvalidLocation where a folder on the way to `key` is a link."""
    path = root
    for name in key.split("/")[:-1]:
        path /= name
        if path.is_symlink():
            raise _linked(root, path.relative_to(root).as_posix(), operation)


def _matching(root: Path, folder: str, prefix: str, without: str) -> Iterator[str]:
    """Return the entries of one folder in key order, folders with their slash, as far as the prefix leads there."""
    keys = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                key = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    keys.append(f"{key}/")
                elif entry.is_symlink() and _leads(f"{key}/", prefix) and entry.is_dir():
                    raise _linked(root, key, "list")
                else:
                    keys.append(key)
    except (FileNotFoundError, NotADirectoryError):
        return iter(())
    # "a-b" comes before "a/x", though "a" comes before "a-b".
    return iter(sorted(key for key in keys if _leads(key, prefix) and key != f"{without}/"))


def _leads(key: str, prefix: str) -> bool:
    return key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key))


def _linked(root: Path, key: str, operation: str) -> InvalidLocation:
    return InvalidLocation(
        f"the folder is a link to {_target(root / key)}: its files would be found, and deleted, under two names",
        uri=f"file://{root}",
        operation=operation,
        key=key,
        way_out="Put the folder itself there, or move the link elsewhere",
    )


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # gone meanwhile
        return "another"
