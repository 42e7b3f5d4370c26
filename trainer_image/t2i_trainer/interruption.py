"""The wish to stop: SIGTERM or SIGINT, or the death of the launcher; noticed between steps, never within one."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Remembers that somebody asked this process to stop."""

    def __init__(self) -> None:
        self._asked = False
        self._parent = os.getppid()

    def listen(self) -> None:
        """From now on a signal to stop is only remembered."""
        for number in _SIGNALS:
            signal.signal(number, self._remember)

    @property
    def is_asked(self) -> bool:
        """Whether to stop. A launcher that was killed leaves its processes to init: they stop as well."""
        return self._asked or os.getppid() != self._parent

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
