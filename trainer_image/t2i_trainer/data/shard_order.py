"""In which order an epoch shows a set of shards: stateless like `permutation.py`, and with few shards at a time.

Two levels: the epoch's order of shards is a permutation, cut into windows of so many neighbours; within a window all
samples are permuted. A machine then needs one window of shards, and the next, instead of all of them. A set of one
window is shown in exactly the order of a set in memory. See docs/decisions/0130-two-levels-of-sample-order.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from t2i_trainer.data.permutation import Permutation

# Seeds are below 2^31: this bit and those above it tell the permutations of shards and of each window apart.
_SHARDS_BIT, _WINDOW_SHIFT = 1 << 31, 32
_EPOCHS_KEPT = 3

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class _Epoch:
    """Shards in the epoch's order; window w is `shards[w * width : (w + 1) * width]` and ends at position `ends[w]`."""

    shards: I64
    ends: I64


class ShardOrder:
    """The order of samples that lie in shards of `counts` samples; row numbers go through the shards as listed."""

    def __init__(self, counts: I64, window_shards: int, seed: int) -> None:
        if not len(counts) or (counts < 1).any():
            raise ValueError("every shard needs a sample")
        self._counts = counts
        self._first_rows = np.cumsum(counts) - counts
        self._width = window_shards
        self._seed = seed
        self._epoch = lru_cache(maxsize=_EPOCHS_KEPT)(self._lay_out)
        self.size = int(counts.sum())

    def rows(self, epoch: int, positions: I64) -> I64:
        """Return which row stands at each of `positions` (0 to size - 1) of an epoch."""
        if len(self._counts) <= self._width:
            return Permutation(self.size, self._seed, epoch)(positions)
        laid = self._epoch(epoch)
        windows = np.searchsorted(laid.ends, positions, side="right")
        rows = np.empty_like(positions)
        for window in np.unique(windows):
            chosen = windows == window
            shards = self._window(laid, int(window))
            counts = self._counts[shards]
            size = int(counts.sum())
            start = int(laid.ends[window]) - size
            seed = self._seed | (int(window) + 1) << _WINDOW_SHIFT
            places = Permutation(size, seed, epoch)(positions[chosen] - start)
            ends = np.cumsum(counts)
            which = np.searchsorted(ends, places, side="right")
            rows[chosen] = self._first_rows[shards[which]] + places - (ends - counts)[which]
        return rows

    def locate(self, rows: I64) -> tuple[I64, I64]:
        """Return the shard of each row, and the row's place in it."""
        shards = np.searchsorted(self._first_rows, rows, side="right") - 1
        return shards, rows - self._first_rows[shards]

    def shards_from(self, epoch: int, position: int) -> tuple[int, ...]:
        """Return the shards of the window at a position, then those of the window after it, each once."""
        if len(self._counts) <= self._width:
            return tuple(range(len(self._counts)))
        laid = self._epoch(epoch)
        window = int(np.searchsorted(laid.ends, position, side="right"))
        following = (
            self._window(laid, window + 1) if window + 1 < len(laid.ends) else self._window(self._epoch(epoch + 1), 0)
        )
        return tuple(dict.fromkeys((*self._window(laid, window).tolist(), *following.tolist())))

    def _window(self, laid: _Epoch, window: int) -> I64:
        return laid.shards[window * self._width : (window + 1) * self._width]

    def _lay_out(self, epoch: int) -> _Epoch:
        total = len(self._counts)
        shards = Permutation(total, self._seed | _SHARDS_BIT, epoch)(np.arange(total, dtype=np.int64))
        starts = np.arange(0, total, self._width)
        return _Epoch(shards, np.cumsum(np.add.reduceat(self._counts[shards], starts)))
