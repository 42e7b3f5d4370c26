"""The wish to stop: SIGTERM or SIGINT, or the death of the launcher.

Before the first step there is nothing to save: the wish ends the process where it stands, while it reads data, encodes
captions or fetches a checkpoint, which is as safe as a kill and explains itself. Once training has begun the wish is
remembered and noticed between steps, never within one.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from t2i_api.progress import ExitCode
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from types import FrameType

STOPPED_BEFORE_TRAINING: Final = "stopped on request before training began; nothing was changed"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Remembers that somebody asked this process to stop."""

    def __init__(self) -> None:
        self._asked = False
        self._ends_at_once = False
        self._parent = os.getppid()

    def listen(self, *, end_at_once: bool = False) -> None:
        """From now on a signal to stop is remembered; `end_at_once`: it also raises TrainerError, until `defer`."""
        self._ends_at_once = end_at_once
        for number in _SIGNALS:
            signal.signal(number, self._remember)

    def defer(self) -> None:
        """From now on there is something to save: a signal is only remembered."""
        self._ends_at_once = False

    @property
    def was_asked(self) -> bool:
        """Whether a signal asked; the launcher itself outlives a shell that started it."""
        return self._asked

    @property
    def is_asked(self) -> bool:
        """Whether to stop. A launcher that was killed leaves its processes to init: they stop as well."""
        return self._asked or os.getppid() != self._parent

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._ends_at_once:
            self._ends_at_once = False
            raise TrainerError(ExitCode.INTERRUPTED, STOPPED_BEFORE_TRAINING)
