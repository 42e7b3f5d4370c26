"""Batches of one rank: latents, noise, timesteps and conditioning of a step.

A batch is a pure function of its step: the feed holds no position and no random state. `prefetch.py` asks ahead.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from t2i_trainer.data.samples import Conditioning
from t2i_trainer.data.sampling import SampleOrder, draw
from t2i_trainer.data.space import to_latents, to_pixels

if TYPE_CHECKING:
    from t2i_trainer.data.samples import Samples
    from t2i_trainer.data.space import Space
    from t2i_trainer.world import World

__all__ = ["Batch", "Conditioning", "DrawnFeed", "Feed", "to_latents", "to_pixels"]


@dataclass(frozen=True)
class Batch:
    """`latents` and `noise` float32 [B, C, H, W], `timesteps` int64 [B], `conditioning` float32 [B, T, D]."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    conditioning: torch.Tensor

    def part(self, start: int, stop: int) -> Batch:
        """Return the samples from `start` up to `stop`, as views."""
        return Batch(
            latents=self.latents[start:stop],
            noise=self.noise[start:stop],
            timesteps=self.timesteps[start:stop],
            conditioning=self.conditioning[start:stop],
        )

    def pinned(self) -> Batch:
        """Return a copy in memory that a GPU reads by itself."""
        return Batch(**{field.name: getattr(self, field.name).pin_memory() for field in fields(self)})

    def to(self, device: torch.device) -> Batch:
        """Return the batch on the device; from pinned memory the copy is only begun."""
        return Batch(**{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)})

    def noise_sha256(self) -> str:
        """Hex SHA-256 over the noise: what tells one rank's batch from another's."""
        return hashlib.sha256(self.noise.cpu().numpy().tobytes()).hexdigest()


class Feed(Protocol):
    """What the training loop asks for its batches."""

    def batch(self, step: int) -> Batch:
        """Return this rank's share of `step` (0 is the first), on the device; raises TrainerError, StoreError."""


class DrawnFeed:
    """Makes the batch of any step when it is asked for."""

    def __init__(  # noqa: PLR0913  # keyword-only facts of the run, one call site
        self,
        *,
        samples: Samples,
        space: Space,
        null: torch.Tensor,
        order: SampleOrder,
        world: World,
        timesteps: int,
        dropout: float,
        offset_noise: float = 0.0,
    ) -> None:
        self._samples = samples
        self._space = space
        self._null = null
        self._order = order
        self._world = world
        self._timesteps = timesteps
        self._dropout = dropout
        self._offset_noise = offset_noise

    def batch(self, step: int) -> Batch:
        """Make the batch, and copy it to the device."""
        return self.on_host(step).to(self._world.device)

    def on_host(self, step: int) -> Batch:
        """Make the batch in plain memory; may be called by several threads."""
        world, order = self._world, self._order
        indices = order.indices(step, world.rank, world.size)
        self._samples.expect(order.shards_from(step))
        taken = self._samples.take(order.rows(indices))
        latents = self._space.latents(taken.stored, order.seed, indices)
        draws = [
            draw(
                order.seed,
                int(index),
                timesteps=self._timesteps,
                dropout=self._dropout,
                shape=tuple(latents.shape[1:]),
                offset=self._offset_noise,
            )
            for index in indices
        ]
        dropped = torch.tensor([each.drops_caption for each in draws])
        return Batch(
            latents=latents,
            noise=torch.from_numpy(np.stack([each.noise for each in draws])),
            timesteps=torch.tensor([each.timestep for each in draws]),
            conditioning=torch.where(dropped[:, None, None], self._null, taken.texts),
        )
