"""How far an archive or a restore is, how fast it goes and how long it will take."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_SECONDS = 30.0  # long enough to smooth parts of 512 MiB, short enough to follow a store that slows down


@dataclass(frozen=True)
class ArchiveProgress:
    """Counts and bytes of one stage; `stage` is Copying, Deleting or Restoring.

    `bytes_per_second` is of the last half minute and of bytes that really moved; `eta_seconds` is None while unknown.
    """

    stage: str
    objects_done: int
    objects_total: int
    bytes_done: int
    bytes_total: int
    bytes_per_second: float = 0.0
    eta_seconds: float | None = None


ProgressCallback = Callable[[ArchiveProgress], None]


class ProgressMeter:
    """Counts one stage from many threads and reports after every step, in order and never backwards."""

    def __init__(
        self,
        stage: str,
        report: ProgressCallback | None,
        *,
        objects: int,
        size_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage, self._report, self._clock = stage, report, clock
        self._objects_total, self._bytes_total = objects, size_bytes
        self._objects = self._bytes = self._moved = 0
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def moved(self, count: int) -> None:
        """`count` more bytes were copied just now; a negative count takes back what has to be copied again."""
        self._add(count, moved=max(count, 0))

    def found(self, count: int) -> None:
        """`count` bytes were there already, from an earlier run: progress, but no speed."""
        self._add(count, moved=0)

    def finished_object(self) -> None:
        """One more object is done."""
        with self._lock:
            self._objects += 1
            self._tell()

    def _add(self, count: int, *, moved: int) -> None:
        with self._lock:
            self._bytes = min(max(self._bytes + count, 0), self._bytes_total)
            self._moved += moved
            self._tell()

    def _tell(self) -> None:
        if self._report is None:
            return
        now = self._clock()
        self._samples.append((now, self._moved))
        while len(self._samples) > 2 and now - self._samples[1][0] > _WINDOW_SECONDS:  # noqa: PLR2004  # a span has two ends
            self._samples.popleft()
        began, before = self._samples[0]
        rate = (self._moved - before) / (now - began) if now > began else 0.0
        left = self._bytes_total - self._bytes
        eta = 0.0 if left == 0 else left / rate if rate > 0 else None
        self._report(
            ArchiveProgress(self._stage, self._objects, self._objects_total, self._bytes, self._bytes_total, rate, eta)
        )
