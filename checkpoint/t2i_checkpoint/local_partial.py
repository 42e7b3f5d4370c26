"""Files that are being written: below `.t2i-partial/` in the store's root, linked to their place when they are whole.

A process that is killed leaves its file there. Nobody finds it, but it takes space, gigabytes for a checkpoint: whoever
writes next removes what has not been written to for a day.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import time
from pathlib import Path

PARTIAL_FOLDER = ".t2i-partial"
_PREFIX = "write-"
_OWN = re.compile(r"(?:write-|tmp)[a-z0-9_]{8}")  # mkstemp's; "tmp" is of older versions
_STALE_SECONDS = 24 * 3600.0


def new_partial(root: Path) -> Path:
    """Create an empty file of one's own; raises OSError."""
    folder = root / PARTIAL_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
    os.close(handle)
    return Path(name)


def remove_stale_partials(root: Path, now: float | None = None) -> int:
    """Remove what killed writers left; `now` in seconds since 1970. Returns how many; what cannot be removed stays."""
    before = (time.time() if now is None else now) - _STALE_SECONDS
    removed = 0
    with contextlib.suppress(OSError), os.scandir(root / PARTIAL_FOLDER) as entries:
        for entry in entries:
            if not _OWN.fullmatch(entry.name):
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                Path(entry.path).unlink(missing_ok=True)
                removed += 1
    return removed
