"""Two runs that write to one `checkpoint.uri` at once: nothing is lost, but both do the whole job, so one should stop.

Seen in the listing that retention makes anyway: a checkpoint of another writer that is newer than ours, and that was
not there at our first look (then it belongs to a history that somebody went back from).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2i_checkpoint.layout import FolderName

logger = logging.getLogger("t2i_trainer")


class OtherWriters:
    """What the looks before have shown; lives as long as the process that saves, and warns once."""

    def __init__(self) -> None:
        self._known: set[str] | None = None
        self._has_warned = False

    def look(self, committed: Iterable[FolderName], step: int, writer: str) -> None:
        """Warn of a checkpoint at or after our `step` that appeared since the last look and is not by us, `writer`."""
        others = [each for each in committed if each.is_own and each.writer != writer]
        known, self._known = self._known, {each.folder for each in others}
        if known is None or self._has_warned:
            return
        fresh = [each for each in others if each.step >= step and each.folder not in known]
        if fresh:
            self._has_warned = True
            logger.warning(
                "%s was committed by another writer (%s) while this run trains: two runs do the whole of one job. Stop "
                "one of them, or give it a checkpoint.uri of its own",
                fresh[0].folder,
                fresh[0].writer,
            )
