"""Batches made ahead by threads while the device computes: the same bits as without.

Steps are asked for in order nearly always; where the run jumps (a resume, the evaluation's grid, a step taken twice),
what was made ahead is let go and the threads begin where the run is now.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    import torch

    from t2i_trainer.data.feed import Batch, DrawnFeed

# Batches made ahead; they and the one in use bound the memory. Two hide any step that is longer than its batch takes.
_AHEAD = 3
_MOST_THREADS = 4


class PrefetchingFeed:
    """A feed in front of another; used by one thread. `steps` is the run's last: nothing is made beyond it."""

    def __init__(self, feed: DrawnFeed, device: torch.device, *, threads: int, steps: int) -> None:
        self._feed = feed
        self._device = device
        self._steps = steps
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self._made: dict[int, Future[Batch]] = {}

    def batch(self, step: int) -> Batch:
        """Return the batch of `step` on the device and have the next ones made; raises what making it raised."""
        wanted = range(step, max(min(step + 1 + _AHEAD, self._steps), step + 1))
        for old in [each for each in self._made if each not in wanted]:
            self._made.pop(old).cancel()
        for each in wanted:
            if each not in self._made:
                self._made[each] = self._pool.submit(self._make, each)
        # It stays until the next step is asked for: the first step is asked for twice.
        return self._made[step].result().to(self._device)

    def close(self) -> None:
        """Let go of what was made ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, step: int) -> Batch:
        batch = self._feed.on_host(step)
        return batch.pinned() if self._device.type == "cuda" else batch


def threads_for(cores: int, processes: int) -> int:
    """Return how many threads make batches in each of a pod's processes."""
    return max(1, min(_MOST_THREADS, cores // max(processes, 1) - 1))
