"""Rank 0's hand in the report page: asks for one at the moments that are worth one, and never waits for it in a step.

At most one process is at work; moments that come meanwhile, or soon after, are one page later. The page of the end,
whatever ended the run, is waited for within bounds.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.report.history import Newer

logger = logging.getLogger("t2i_trainer")

SECONDS_BETWEEN = 30.0  # a page costs about a second of one core
_LAST_SECONDS = 60.0
_LAST_SECONDS_AFTER_FAILURE = 5.0  # of a pod's grace period, most of which is the last save's
_NICENESS = 19
_MODULE = "t2i_trainer.report.command"


@dataclass
class Pacing:
    """When a wanted page may be begun: alone, and so many seconds after the one before (or the run) began."""

    began_at: float
    seconds_between: float = SECONDS_BETWEEN
    is_wanted: bool = False
    is_busy: bool = False

    def is_due(self, now: float) -> bool:
        """Whether a page is to be begun at this time, in seconds."""
        return self.is_wanted and not self.is_busy and now - self.began_at >= self.seconds_between

    def begin(self, now: float) -> None:
        """Note that a page of everything wanted so far was begun."""
        self.began_at, self.is_wanted, self.is_busy = now, False, True


@dataclass
class ReportWriter:
    """One a run; `newer` gives the rows that the bucket may not hold yet, and is None on ranks that write no page."""

    configuration: RunConfiguration
    newer: Callable[[], Newer] | None
    _pacing: Pacing = field(default_factory=lambda: Pacing(time.monotonic()))
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Write the page of the end; one that is under way shows less and is given up."""
        self._give_up()
        if self.newer is None:
            return
        self._begin(self.newer, niceness=0)  # nothing is left to stand back for
        seconds = _LAST_SECONDS if kind is None else _LAST_SECONDS_AFTER_FAILURE
        try:
            if self._process is not None:
                self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            logger.warning("the report page took more than %.0f s and was given up", seconds)
            self._give_up()

    def wish(self) -> None:
        """Ask for a page of now; returns at once."""
        self._pacing.is_wanted = self.newer is not None
        self.look()

    def look(self) -> None:
        """Begin a page that is due: a process is started, everything else happens there."""
        if self._process is not None and self._process.poll() is not None:
            self._process, self._pacing.is_busy = None, False
        if self.newer is not None and self._pacing.is_due(time.monotonic()):
            self._begin(self.newer)

    def _begin(self, newer: Callable[[], Newer], niceness: int = _NICENESS) -> None:
        self._pacing.begin(time.monotonic())
        known = newer()
        rows = self.configuration.run_directory / "report-rows.jsonl"
        rows.write_bytes(b"".join(line + b"\n" for line in known.lines))
        place = self.configuration.spec.checkpoint
        command = [sys.executable, "-m", _MODULE, "--uri", place.uri, "--parent", str(os.getpid())]
        command += ["--rows", str(rows), "--after-step", str(known.after_step), "--nice", str(niceness)]
        command += ["--endpoint", place.endpoint] if place.endpoint else []
        command += ["--region", place.region] if place.region else []
        # A session of its own: Ctrl-C is for the trainer to hear.
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def _give_up(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
