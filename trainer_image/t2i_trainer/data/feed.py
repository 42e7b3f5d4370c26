"""Batches of one rank: pixels, noise, timesteps and conditioning of a step, ready for the device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from t2i_trainer.data.sampling import SampleOrder, draw

if TYPE_CHECKING:
    from t2i_trainer.data.imagefolder import CaptionedPictures
    from t2i_trainer.world import World


@dataclass(frozen=True)
class Conditioning:
    """Encoded captions: `embeddings` float32 [U, T, D] of the distinct captions, `rows` says which each picture has."""

    embeddings: torch.Tensor
    rows: torch.Tensor
    null: torch.Tensor


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

    def noise_sha256(self) -> str:
        """Hex SHA-256 over the noise: what tells one rank's batch from another's."""
        return hashlib.sha256(self.noise.cpu().numpy().tobytes()).hexdigest()


class Feed:
    """Makes the batch of any step out of what lies in memory; holds no position and no random state."""

    def __init__(  # noqa: PLR0913  # keyword-only facts of the run, one call site
        self,
        *,
        pictures: CaptionedPictures,
        conditioning: Conditioning,
        order: SampleOrder,
        world: World,
        timesteps: int,
        dropout: float,
        unshuffle: int,
    ) -> None:
        self._pixels = torch.from_numpy(pictures.pixels)
        self._unshuffle = unshuffle
        self._conditioning = conditioning
        self._order = order
        self._world = world
        self._timesteps = timesteps
        self._dropout = dropout

    def batch(self, step: int) -> Batch:
        """Return this rank's share of `step` (0 is the first)."""
        world, order = self._world, self._order
        indices = order.indices(step, world.rank, world.size)
        rows = torch.from_numpy(order.rows(indices))
        latents = to_latents(self._pixels[rows], self._unshuffle)
        draws = [
            draw(
                order.seed, int(index), timesteps=self._timesteps, dropout=self._dropout, shape=tuple(latents.shape[1:])
            )
            for index in indices
        ]
        noise = torch.from_numpy(np.stack([each.noise for each in draws]))
        known = self._conditioning
        dropped = torch.tensor([each.drops_caption for each in draws])
        texts = known.embeddings[known.rows[rows]]
        texts = torch.where(dropped[:, None, None], known.null, texts)
        device = world.device
        return Batch(
            latents=latents.to(device, non_blocking=True),
            noise=noise.to(device, non_blocking=True),
            timesteps=torch.tensor([each.timestep for each in draws]).to(device, non_blocking=True),
            conditioning=texts.to(device, non_blocking=True),
        )


def to_latents(pixels: torch.Tensor, unshuffle: int) -> torch.Tensor:
    """Map uint8 [N, 3, R, R] to float32 [N, 3 f^2, R/f, R/f] in [-1, 1]."""
    scaled = pixels.float() / 127.5 - 1.0
    return torch.nn.functional.pixel_unshuffle(scaled, unshuffle) if unshuffle > 1 else scaled


def to_pixels(latents: torch.Tensor, unshuffle: int) -> torch.Tensor:
    """The inverse of `to_latents`, clamped and rounded: uint8 [N, 3, R, R]."""
    pixels = torch.nn.functional.pixel_shuffle(latents, unshuffle) if unshuffle > 1 else latents
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
