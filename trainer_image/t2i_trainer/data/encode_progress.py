"""How far an encoding is: the figures, and the lines of a trainer's log, which has no bar and may run for hours."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_trainer.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS_BETWEEN_LINES = 10


@dataclass(frozen=True)
class EncodeProgress:
    """How far it is; `total` None where only reading the source tells. `kept` samples were done by a run before."""

    samples: int
    total: int | None
    kept: int
    broken: int
    shards: int
    bytes_written: int
    seconds: float

    @property
    def usable(self) -> int | None:
        """How many samples there will be, as far as is known: all that are not broken."""
        return None if self.total is None else self.total - self.broken

    @property
    def samples_per_second(self) -> float:
        """Speed of this run; what an earlier one did is not counted."""
        return (self.samples - self.kept) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at this speed; None where it cannot be told."""
        if self.usable is None or self.samples_per_second == 0:
            return None
        return (self.usable - self.samples) / self.samples_per_second


def progress_line(news: EncodeProgress) -> str:
    """Return what a log says: done, of how many, speed, time left; what is not known is not said."""
    of = "" if news.usable is None else f" of {news.usable:,}"
    left = "" if news.seconds_left is None else f", {duration_text(news.seconds_left)} left"
    return f"encoded {news.samples:,}{of} samples, {news.samples_per_second:.1f} samples/s{left}"


class ProgressLog:
    """Writes a line at most every 10 seconds; `clock` gives seconds. For one thread."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._written_at = clock()

    def report(self, news: EncodeProgress) -> None:
        """Hear how far it is."""
        now = self._clock()
        if now - self._written_at >= _SECONDS_BETWEEN_LINES:
            self._written_at = now
            self._write(progress_line(news))
