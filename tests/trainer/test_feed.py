"""Batches of a step: ranks share what one process would see, and pictures survive the way to latents and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
import torch

from t2i_trainer.data.feed import DrawnFeed, to_latents, to_pixels
from t2i_trainer.data.imagefolder import CaptionedPictures
from t2i_trainer.data.samples import PicturesInMemory
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.data.space import PixelSpace

PICTURES = 7
NULL = torch.full((2, 3), -1.0)


@dataclass(frozen=True)
class Place:
    """A rank among others, as `World` tells it to the feed."""

    rank: int
    size: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def feed(rank: int = 0, size: int = 1, dropout: float = 0.3, offset_noise: float = 0.0) -> DrawnFeed:
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, 3, 4, 4), dtype=np.uint8)
    captions = tuple(f"caption {number % 3}" for number in range(PICTURES))
    embeddings = torch.arange(3.0).view(3, 1, 1).expand(3, 2, 3)
    rows = torch.tensor([number % 3 for number in range(PICTURES)])
    return DrawnFeed(
        samples=PicturesInMemory(CaptionedPictures(pixels, captions, "0" * 64), embeddings, rows),
        space=PixelSpace(2),
        null=NULL,
        order=SampleOrder(PICTURES, seed=5, global_batch_size=6),
        world=cast("Any", Place(rank, size)),
        timesteps=1000,
        dropout=dropout,
        offset_noise=offset_noise,
    )


@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("step", [0, 1, 40])
def test_ranks_together_see_what_one_process_sees(size: int, step: int) -> None:
    alone = feed().batch(step)
    parts = [feed(rank, size).batch(step) for rank in range(size)]
    for name in ("latents", "noise", "timesteps", "conditioning"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(alone, name)), name
    assert len({part.noise_sha256() for part in parts}) == size


def test_a_dropped_caption_becomes_the_null_embedding_and_no_other_does() -> None:
    def share_of_nulls(dropout: float) -> float:
        batches = [feed(dropout=dropout).batch(step).conditioning for step in range(100)]
        return float(torch.cat(batches).eq(NULL).all(dim=(1, 2)).float().mean())

    assert share_of_nulls(0.0) == 0
    assert abs(share_of_nulls(0.3) - 0.3) < 0.06


def test_captions_stay_with_their_pictures() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (PICTURES, 3, 4, 4), dtype=np.uint8))
    known = to_latents(pixels, 2)
    batch = feed(dropout=0.0).batch(3)
    for latent, conditioning in zip(batch.latents, batch.conditioning, strict=True):
        (row,) = [number for number in range(PICTURES) if torch.equal(known[number], latent)]
        assert conditioning.unique().tolist() == [row % 3]


def test_offset_noise_is_the_same_over_a_channel_and_changes_no_other_number() -> None:
    plain, shifted = feed().batch(2), feed(offset_noise=0.5).batch(2)
    offset = shifted.noise - plain.noise
    assert torch.allclose(offset, offset.mean(dim=(2, 3), keepdim=True), atol=1e-6)
    assert len(set(offset.flatten().tolist())) > 6
    for name in ("latents", "timesteps", "conditioning"):
        assert torch.equal(getattr(plain, name), getattr(shifted, name)), name


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_every_pixel_value_survives_the_round_trip(factor: int) -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    latents = to_latents(pixels, factor)
    assert latents.shape == (1, 3 * factor**2, 16 // factor, 16 // factor)
    assert latents.min() == -1
    assert latents.max() == 1
    assert torch.equal(to_pixels(latents, factor), pixels)
