"""The samples that every evaluation looks at: the first of the run whose caption was not dropped.

Their timesteps are spread evenly over the forward process. Ranks share the grid as they share a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_trainer.sanity.theory import DataScale

if TYPE_CHECKING:
    from t2i_trainer.data.feed import Feed
    from t2i_trainer.world import World

# Pictures that the mean picture and the variance around it are taken from.
_SCALE_SAMPLES = 64
_MOST_BATCHES = 64
# The inverse of the golden ratio spreads any first n of its multiples evenly over the unit interval.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Grid:
    """This rank's share: `latents` and `noise` [N, C, H, W], `timesteps` [N], `right`, `wrong` and `null` [N, T, D]."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    right: torch.Tensor
    wrong: torch.Tensor
    null: torch.Tensor


def build_grid(
    feed: Feed, null: torch.Tensor, *, images: int, timesteps: int, world: World
) -> tuple[Grid | None, DataScale]:
    """Return this rank's share of about `images` samples (None if a rank finds none), and the scale of all data."""
    latents, noise, texts, places = [], [], [], []
    share = max(1, images // world.size)
    held = seen = 0
    for step in range(_MOST_BATCHES):
        batch = feed.batch(step)
        keep = (batch.conditioning != null.to(batch.conditioning)).flatten(1).any(1)
        latents.append(batch.latents)
        noise.append(batch.noise)
        texts.append(batch.conditioning)
        count = len(batch.latents)
        places.append(keep.nonzero()[:, 0] + seen)
        held, seen = held + int(keep.sum()), seen + count
        if held >= share and seen * world.size >= _SCALE_SAMPLES:
            break
    everything = torch.cat(latents)
    scale = _scale(everything, world)
    chosen = torch.cat(places)[:share]
    # All ranks or none: a sharded model needs every one of them in each forward pass.
    if int(world.sum(torch.tensor(int(not len(chosen)), device=everything.device))):
        return None, scale
    right = torch.cat(texts)[chosen]
    # Neighbours of the golden sequence are far apart in time; ranks continue where the one before left off.
    fractions = (0.5 + (world.rank * share + torch.arange(len(chosen), device=chosen.device).double()) * _GOLDEN) % 1
    return (
        Grid(
            latents=everything[chosen],
            noise=torch.cat(noise)[chosen],
            timesteps=(fractions * timesteps).long().to(everything.device),
            right=right,
            wrong=_others(right),
            null=null.to(right).expand_as(right),
        ),
        scale,
    )


def _others(texts: torch.Tensor) -> torch.Tensor:
    """Return for each text the next one that differs; itself where all are the same."""
    chosen = []
    for place in range(len(texts)):
        candidates = (texts.roll(-place - 1, 0) != texts[place]).flatten(1).any(1).nonzero()[:, 0]
        step = int(candidates[0]) + 1 if len(candidates) else 0
        chosen.append((place + step) % len(texts))
    return texts[torch.tensor(chosen, device=texts.device)]


def _scale(latents: torch.Tensor, world: World) -> DataScale:
    """Return E x^2 and the variance around the mean picture, over all ranks."""
    values = latents.double()
    total = world.sum(values.sum(0))
    squares, count = world.sum(torch.stack([values.square().sum(), values.new_tensor(len(values))])).tolist()
    second = squares / count / total.numel()
    around = second - float((total / count).square().mean())
    return DataScale(second, max(around, 0.0) * count / max(count - 1, 1))
