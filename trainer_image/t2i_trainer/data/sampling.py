"""Which samples a step trains on, and what each of them draws: timestep, conditioning dropout and noise.

Everything is a pure function of the seed and the sample's global index (step x global batch size + place in the
batch), so any world size sees the same run, and a resume needs no random state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from t2i_trainer.data.permutation import Permutation

if TYPE_CHECKING:
    from t2i_trainer.data.shard_order import ShardOrder


class Stream(IntEnum):
    """What random numbers are for; two streams never share a number."""

    TRAINING = 0
    PICTURES = 1
    DROPOUT = 2
    LATENTS = 3


@dataclass(frozen=True)
class SampleOrder:
    """The endless sequence of epochs over `size` samples, cut into global batches; `shards`: their order in shards."""

    size: int
    seed: int
    global_batch_size: int
    shards: ShardOrder | None = None

    def indices(self, step: int, rank: int, world_size: int) -> NDArray[np.int64]:
        """Return the global sample indices that `rank` trains on in `step` (0 is the first)."""
        share = self.global_batch_size // world_size
        first = step * self.global_batch_size + rank * share
        return np.arange(first, first + share, dtype=np.int64)

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the data row of each global sample index; a batch may straddle epochs."""
        epochs, positions = indices // self.size, indices % self.size
        rows = np.empty_like(indices)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            rows[chosen] = self._rows_of(int(epoch), positions[chosen])
        return rows

    def shards_from(self, step: int) -> tuple[int, ...]:
        """Return the shards that are needed at `step` and soon after it, in the order of need."""
        if self.shards is None:
            return ()
        epoch, position = divmod(step * self.global_batch_size, self.size)
        return self.shards.shards_from(epoch, position)

    def _rows_of(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.shards is not None:
            return self.shards.rows(epoch, positions)
        return Permutation(self.size, self.seed, epoch)(positions)


@dataclass(frozen=True)
class Draw:
    """What one sample draws: a timestep, whether its caption is dropped, and noise (float32, the latent's shape)."""

    timestep: int
    drops_caption: bool
    noise: NDArray[np.float32]


def draw(  # noqa: PLR0913  # keyword-only facts of the run
    seed: int, index: int, *, timesteps: int, dropout: float, shape: tuple[int, ...], offset: float = 0.0
) -> Draw:
    """Return the draw of the sample with this global index.

    `offset` is the strength of noise that is constant over each channel
    (https://www.crosslabs.org/blog/diffusion-with-offset-noise); it is drawn last, so that 0 changes no other number.
    """
    generator = generator_for(seed, Stream.TRAINING, index)
    time, drop = generator.random(2)
    noise = generator.standard_normal(shape, dtype=np.float32)
    if offset > 0:
        channels = (shape[0],) + (1,) * (len(shape) - 1)
        noise += np.float32(offset) * generator.standard_normal(channels, dtype=np.float32)
    return Draw(min(int(time * timesteps), timesteps - 1), bool(drop < dropout), noise)


def generator_for(seed: int, stream: Stream, index: int) -> np.random.Generator:
    """Return the generator of one sample: Philox is counter-based, so its key alone fixes every number."""
    return np.random.Generator(np.random.Philox(key=np.array([seed << 8 | stream, index], dtype=np.uint64)))


def seed_dropout(seed: int, step: int, rank: int) -> None:
    """Fix what the model's own dropout layers draw in a step: alike after a resume, different on every rank."""
    torch.manual_seed(int(generator_for(seed, Stream.DROPOUT, step << 20 | rank).integers(2**63)))
