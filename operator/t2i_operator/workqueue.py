"""The work queue: a key is reconciled by one worker at a time, later again if it was marked meanwhile.

The same three rules as client-go's workqueue, for asyncio: a key waits in the queue once however often it is marked; a
key that is marked while it is worked on comes back when that work is done; a key whose work failed comes back after a
delay that doubles, by itself and without holding up the others.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Clock = Callable[[], float]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Delay after the n-th failure in a row: `first_seconds` doubled n - 1 times, at most `maximum_seconds`."""

    first_seconds: float = 0.5
    maximum_seconds: float = 60.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after that many failures in a row."""
        return float(min(self.maximum_seconds, self.first_seconds * 2.0 ** min(failures - 1, 32)))


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """What a queue holds at one moment; None: no key waits, or none is worked on. Delayed keys do not wait."""

    depth: int
    oldest_wait_seconds: float | None
    longest_work_seconds: float | None
    failing: int  # keys whose last reconcile failed


class WorkQueue(Generic[Key]):
    """Keys that wait; lives within one event loop. `waited` hears for how many seconds a key did, when it is taken."""

    def __init__(
        self, *, backoff: Backoff | None = None, waited: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        self._backoff = backoff or Backoff()
        self._waited = waited
        self._ready: deque[Key] = deque()
        # Each with the time since when, of time.monotonic().
        self._waiting: dict[Key, float] = {}
        self._working: dict[Key, float] = {}
        self._marked_while_working: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait for a worker now; delayed ones do not count."""
        return len(self._waiting) + len(self._marked_while_working)

    def add(self, key: Key) -> None:
        """Mark a key as due now."""
        self._cancel_timer(key)
        if key in self._working:
            self._marked_while_working.setdefault(key, time.monotonic())
        else:
            self._enqueue(key, time.monotonic())

    def state(self) -> QueueState:
        """Return what is here now; may be called from another thread."""
        now = time.monotonic()
        waiting = [*self._waiting.copy().values(), *self._marked_while_working.copy().values()]
        working = self._working.copy().values()
        return QueueState(
            depth=len(waiting),
            oldest_wait_seconds=now - min(waiting) if waiting else None,
            longest_work_seconds=now - min(working) if working else None,
            failing=len(self._failures),
        )

    def add_after(self, key: Key, seconds: float) -> None:
        """Mark a key as due after a delay; of two delays the earlier one wins."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that no longer exists."""
        self._cancel_timer(key)
        self._failures.pop(key, None)

    async def work(self, reconcile: Callable[[Key], Awaitable[float | None]]) -> None:
        """Be one worker, for ever: reconcile keys; its answer is the seconds until the key is due again, or None."""
        while True:
            key = await self._take()
            try:
                again = await reconcile(key)
            except Exception as error:  # noqa: BLE001  # one job's trouble must not end the others' operator
                self._failed(key, error)
            else:
                self._failures.pop(key, None)
                if again is not None:
                    self.add_after(key, again)
            finally:
                self._done(key)

    async def _take(self) -> Key:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        now = time.monotonic()
        self._waited(now - self._waiting.pop(key))
        self._working[key] = now
        return key

    def _enqueue(self, key: Key, since: float) -> None:
        if key not in self._waiting:
            self._waiting[key] = since
            self._ready.append(key)
            self._wake.set()

    def _done(self, key: Key) -> None:
        self._working.pop(key, None)
        since = self._marked_while_working.pop(key, None)
        # A failed key keeps its delay: what marked it is often the failed work itself.
        if since is not None and key not in self._failures:
            self._cancel_timer(key)
            self._enqueue(key, since)

    def _failed(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures)
        known = isinstance(error, ExpectedError)
        log.log(
            logging.WARNING if known else logging.ERROR,
            "reconcile failed: %s",
            error,
            exc_info=None if known else error,
            extra={"key": str(key), "failures": failures, "again_seconds": delay},
        )
        self._cancel_timer(key)
        self.add_after(key, delay)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


class ExpectedError(Exception):
    """A failure that is part of life in a cluster: logged in one line, without a traceback, and tried again."""
