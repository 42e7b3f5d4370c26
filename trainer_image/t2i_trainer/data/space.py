"""From what is stored of a picture to what the UNet is trained on: pixels folded into channels, or drawn latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from t2i_trainer.data.sampling import Stream, generator_for
from t2i_trainer.vae import sample_latents

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Space(Protocol):
    """Where the UNet works."""

    def latents(self, stored: torch.Tensor, seed: int, indices: NDArray[np.int64]) -> torch.Tensor:
        """Return float32 [B, C, h, w] of stored samples with these global indices: a pure function of both."""


@dataclass(frozen=True)
class PixelSpace:
    """`unshuffle` pixels of a side become channels."""

    unshuffle: int

    def latents(self, stored: torch.Tensor, seed: int, indices: NDArray[np.int64]) -> torch.Tensor:  # noqa: ARG002  # nothing is drawn
        """Scale to [-1, 1] and fold."""
        return to_latents(stored, self.unshuffle)


@dataclass(frozen=True)
class LatentSpace:
    """An autoencoder's latents, (z - shift) x scale; z is drawn from its moments for each sample."""

    scale: float
    shift: float

    def latents(self, stored: torch.Tensor, seed: int, indices: NDArray[np.int64]) -> torch.Tensor:
        """Draw z with noise of (seed, index), in a stream of its own."""
        channels, *side = stored.shape[1:]
        noise = np.empty((len(indices), channels // 2, *side), dtype=np.float32)
        for place, index in zip(noise, indices, strict=True):
            generator_for(seed, Stream.LATENTS, int(index)).standard_normal(dtype=np.float32, out=place)
        return sample_latents(stored, torch.from_numpy(noise), scale=self.scale, shift=self.shift)


def to_latents(pixels: torch.Tensor, unshuffle: int) -> torch.Tensor:
    """Map uint8 [N, 3, R, R] to float32 [N, 3 f^2, R/f, R/f] in [-1, 1]."""
    scaled = pixels.float() / 127.5 - 1.0
    return torch.nn.functional.pixel_unshuffle(scaled, unshuffle) if unshuffle > 1 else scaled


def to_pixels(latents: torch.Tensor, unshuffle: int) -> torch.Tensor:
    """The inverse of `to_latents`, clamped and rounded: uint8 [N, 3, R, R]."""
    pixels = torch.nn.functional.pixel_shuffle(latents, unshuffle) if unshuffle > 1 else latents
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
