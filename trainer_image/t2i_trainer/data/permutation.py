"""In which order an epoch shows its samples: a bijection on 0..size-1 that needs no state and no memory.

A Feistel network permutes the smallest even-bit domain that holds `size`; walking its cycle brings values that fall
outside back in (Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). Integer arithmetic only, so the
order is the same on every machine and with every library version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFF_FFFF_FFFF_FFFF

U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Permutation:
    """The order of one epoch."""

    size: int
    seed: int
    epoch: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a permutation needs at least one element, got {self.size}")

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which sample stands at each of `positions` (0 to size - 1)."""
        values = self._encrypt(positions.astype(np.uint64))
        while (outside := values >= self.size).any():
            values[outside] = self._encrypt(values[outside])
        return values.astype(np.int64)

    def _encrypt(self, values: U64) -> U64:
        half = np.uint64(max(1, ((self.size - 1).bit_length() + 1) // 2))
        low = np.uint64((1 << int(half)) - 1)
        left, right = values >> half, values & low
        for number in range(_ROUNDS):
            left, right = right, left ^ (_scramble(right + np.uint64(self._key(number))) & low)
        return (left << half) | right

    def _key(self, number: int) -> int:
        key = _scramble_int(self.seed + _GOLDEN)
        key = _scramble_int(key ^ self.epoch)
        return _scramble_int((key + number * _GOLDEN) & _MASK)


def _scramble(values: U64) -> U64:
    """The finalizer of SplitMix64 (Steele et al. 2014), modulo 2^64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _scramble_int(value: int) -> int:
    with np.errstate(over="ignore"):
        return int(_scramble(np.array([value & _MASK], dtype=np.uint64))[0])
