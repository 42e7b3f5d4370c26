"""The samples that every evaluation looks at: the first of the run whose caption was not dropped.

Timestep and wrong caption are chosen by a sample's place in the whole grid, so that any number of processes evaluates
the same. Each rank then takes a slice of the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch

from t2i_trainer.data.feed import Batch
from t2i_trainer.sanity.theory import DataScale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_trainer.data.feed import Feed
    from t2i_trainer.world import World

# Pictures that the mean picture and the variance around it are taken from.
_SCALE_SAMPLES = 64
_MOST_BATCHES = 64
# The inverse of the golden ratio spreads any first n of its multiples evenly over the unit interval.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Grid:
    """A rank's slice: `latents`, `noise` [N, C, H, W], `timesteps` [N], `right`, `wrong`, `null` [N, T, D].

    N is the same on every rank, because a sharded model needs all of them in each forward pass: only the first `count`
    samples, perhaps none, are this rank's own. Unless `captions_differ`, every wrong caption is the right one.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    right: torch.Tensor
    wrong: torch.Tensor
    null: torch.Tensor
    count: int
    captions_differ: bool


def build_grid(
    feed: Feed, null: torch.Tensor, *, images: int, timesteps: int, world: World
) -> tuple[Grid | None, DataScale]:
    """Return this rank's slice of up to `images` samples (None if no rank finds one), and the scale of all data."""
    latents, found = [], []
    held = seen = 0
    for step in range(_MOST_BATCHES):
        batch = feed.batch(step)
        latents.append(batch.latents)
        places = _captioned(batch, null, world)[: images - held]
        if len(places):
            found.append(_taken(batch, places, world))
        held, seen = held + len(places), seen + len(batch.latents) * world.size
        if held >= images and seen >= _SCALE_SAMPLES:
            break
    scale = _scale(torch.cat(latents), world)
    return _slice(found, null, timesteps, world) if found else None, scale


def _captioned(batch: Batch, null: torch.Tensor, world: World) -> torch.Tensor:
    """Return the places [K] in the global batch whose caption was not dropped, in order, the same on every rank."""
    keep = (batch.conditioning != null.to(batch.conditioning)).flatten(1).any(1)
    told = keep.new_zeros(world.size, len(keep), dtype=torch.int32)
    told[world.rank] = keep
    return world.sum(told).flatten().nonzero()[:, 0]


def _taken(batch: Batch, places: torch.Tensor, world: World) -> Batch:
    """Return the samples at these places of the global batch, on every rank: each gives what it holds."""
    first = world.rank * len(batch.latents)
    is_mine = (places >= first) & (places < first + len(batch.latents))

    def exchanged(held: torch.Tensor) -> torch.Tensor:
        every = held.new_zeros(len(places), *held.shape[1:])
        every[is_mine] = held[places[is_mine] - first]
        return world.sum(every)

    return Batch(**{field.name: exchanged(getattr(batch, field.name)) for field in fields(batch)})


def _slice(found: Sequence[Batch], null: torch.Tensor, timesteps: int, world: World) -> Grid:
    """Return this rank's part of the whole grid; every part is as long as the first."""
    texts = torch.cat([each.conditioning for each in found])
    images = len(texts)
    longest = math.ceil(images / world.size)
    first = world.rank * longest
    chosen = torch.arange(first, first + longest, device=texts.device).clamp(max=images - 1)
    others = _others(texts)
    right = texts[chosen]
    # Neighbours of the golden sequence are far apart in time.
    fractions = (0.5 + chosen.double() * _GOLDEN) % 1
    return Grid(
        latents=torch.cat([each.latents for each in found])[chosen],
        noise=torch.cat([each.noise for each in found])[chosen],
        timesteps=(fractions * timesteps).long(),
        right=right,
        wrong=texts[others[chosen]],
        null=null.to(right).expand_as(right),
        count=min(max(images - first, 0), longest),
        captions_differ=bool((others != torch.arange(images, device=texts.device)).any()),
    )


def _others(texts: torch.Tensor) -> torch.Tensor:
    """Return for each text the place [N] of the next one that differs; its own where all are the same."""
    rows: Any = texts.flatten(1)
    kinds: list[int] = rows.unique(dim=0, return_inverse=True)[1].tolist()
    count = len(kinds)
    steps = [
        next((step for step in range(1, count) if kinds[(place + step) % count] != kind), 0)
        for place, kind in enumerate(kinds)
    ]
    return torch.tensor([(place + step) % count for place, step in enumerate(steps)], device=texts.device)


def _scale(latents: torch.Tensor, world: World) -> DataScale:
    """Return E x^2 and the variance around the mean picture, over all ranks."""
    values = latents.double()
    total = world.sum(values.sum(0))
    squares, count = world.sum(torch.stack([values.square().sum(), values.new_tensor(len(values))])).tolist()
    second = squares / count / total.numel()
    around = second - float((total / count).square().mean())
    return DataScale(second, max(around, 0.0) * count / max(count - 1, 1))
