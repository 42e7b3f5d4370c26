"""Where the trainer keeps what only saves time: compiled code, copies of data. A folder of this machine or a volume.

Never the bucket: compiled code is code, and whoever may write checkpoints must not be able to run theirs in a pod.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from t2i_api.attempt import CACHE_VARIABLE

logger = logging.getLogger("t2i_trainer")


def cache_folder(part: str) -> Path:
    """Return the folder for one kind of content, which may not exist yet.

    Below $T2I_CACHE_DIRECTORY (in a pod: the volume of workers.template.cacheClaim), else $XDG_CACHE_HOME/t2i, else
    ~/.cache/t2i.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named) / part
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "t2i" / part


def private_folder(folder: Path, fallback: Path) -> Path:
    """Return `folder`, made if need be, or `fallback` where it cannot be used for code.

    That is where it cannot be written, or where everybody on the machine could write into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = folder.stat()
    except OSError as error:
        logger.warning("%s cannot be used as cache (%s): this run keeps nothing for the next", folder, error.strerror)
        return fallback
    if about.st_mode & stat.S_IWOTH or not os.access(folder, os.W_OK):
        logger.warning(
            "%s is %s: this run keeps no compiled code for the next. Give it to the user that trains, mode 0700",
            folder,
            "writable by everybody" if about.st_mode & stat.S_IWOTH else "not writable",
        )
        return fallback
    return folder
