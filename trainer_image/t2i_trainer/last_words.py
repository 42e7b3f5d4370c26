"""A run's last metrics, kept until Prometheus has seen them: it looks every few seconds, and a process ends at once.

The pod's first worker writes them down when it ends, whatever ended it; the launcher, whose exit status is the pod's,
goes on serving them on the same port. So no GPU memory is held, no rank waits for another, and exit status and
termination message are what they would have been. See docs/decisions/0161.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from t2i_api.attempt import LINGER_VARIABLE
from t2i_api.progress import ExitCode, Progress
from t2i_trainer.http_server import serve

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from t2i_trainer.http_server import Told

logger = logging.getLogger("t2i_trainer")

FILE: Final = "last-words.json"
_LONGEST_SECONDS: Final = 300.0
_SIGNAL_STATUS: Final = 128
_SILENT: Final = (ExitCode.INTERRUPTED, ExitCode.PEER_LOST)


class Scrapes:
    """Counts how often somebody fetched the metrics; may be told from any thread."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self.count = 0

    def __call__(self) -> None:
        """Count one."""
        self.count += 1

    @property
    def seconds(self) -> float:
        """How long they have been counted."""
        return time.monotonic() - self._began_at


class LastWords(BaseModel):
    """What the first worker of a pod leaves: its last answers, and whether anybody had asked for them."""

    model_config = ConfigDict(frozen=True)

    metrics: str
    progress: Progress
    scrapes: int
    seconds: float

    @classmethod
    def of(cls, told: Told, scrapes: Scrapes) -> Self:
        """Take down what is told now."""
        return cls(
            metrics=told.exposition().decode(), progress=told.progress, scrapes=scrapes.count, seconds=scrapes.seconds
        )

    def write(self, run_directory: Path) -> None:
        """Leave them for the launcher."""
        (run_directory / FILE).write_text(self.model_dump_json(by_alias=True))

    @classmethod
    def read(cls, run_directory: Path) -> Self | None:
        """Read what the worker left; None where it was killed before it could."""
        try:
            return cls.model_validate_json((run_directory / FILE).read_bytes())
        except (OSError, ValidationError):
            return None

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return self.metrics.encode()


@dataclass(frozen=True)
class Place:
    """Where the worker served and the launcher goes on."""

    port: int
    address: str = ""


def patience(words: LastWords | None, status: int, wish_seconds: float) -> float:
    """Return for how many seconds at most a pod that ends with this status stays to be scraped.

    0 for an end that the next attempt waits for (a kill, a lost peer, a stop on request), and where nobody scraped for
    longer than we would wait: nobody is there.
    """
    if (
        words is None
        or status in _SILENT
        or status > _SIGNAL_STATUS
        or (words.scrapes == 0 and words.seconds > wish_seconds)
    ):
        return 0.0
    return min(wish_seconds, _LONGEST_SECONDS)


def wish() -> float:
    """Return the seconds that T2I_LINGER_SECONDS asks for; 0 where it is not set or no number."""
    text = os.environ.get(LINGER_VARIABLE, "")
    try:
        return max(0.0, float(text)) if text else 0.0
    except ValueError:
        logger.warning("%s is %r: write a number of seconds", LINGER_VARIABLE, text)
        return 0.0


def linger(words: LastWords, place: Place, seconds: float) -> None:
    """Serve the last words until somebody fetched the metrics, the time is up, or a signal asks to stop.

    Call it in the main thread, which alone hears signals.
    """
    enough = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        enough.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server = serve(words, place.port, place.address, on_scrape=enough.set)
    if server is None:
        return
    logger.info("waiting up to %.0f s for Prometheus to see the last step", seconds)
    enough.wait(seconds)
    server.shutdown()
    server.server_close()
