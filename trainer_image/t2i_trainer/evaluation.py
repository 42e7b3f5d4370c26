"""The loss on a fixed grid: the same pictures, noise and timesteps each time, so that the curve shows the model alone.

The grid is the first samples of the run whose caption was not dropped, with timesteps spread evenly over the forward
process. Every loss is taken with the right caption, with another picture's and with none: the differences say whether
captions are understood (`sanity/captions.py`). Ranks share the grid as they share a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from t2i_trainer.diffusion import sample_losses
from t2i_trainer.sanity.captions import CaptionGap
from t2i_trainer.sanity.theory import DataScale

if TYPE_CHECKING:
    from t2i_trainer.data.feed import Feed
    from t2i_trainer.diffusion import ForwardProcess
    from t2i_trainer.world import World

# Pictures that the mean picture and the variance around it are taken from.
_SCALE_SAMPLES = 64
_MOST_BATCHES = 64
# The inverse of the golden ratio spreads any first n of its multiples evenly over the unit interval.
_GOLDEN = (math.sqrt(5) - 1) / 2
_SUMS = 9


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


@torch.no_grad()
def evaluate(unet: torch.nn.Module, forward: ForwardProcess, grid: Grid | None, world: World) -> CaptionGap | None:
    """Return the mean losses over all ranks' shares, the same on every rank; None where there is no sample.

    Every rank takes part, with a grid or without.
    """
    sums = torch.zeros(_SUMS, dtype=torch.float64, device=world.device)
    if grid is not None:
        sums += _sums(unet, forward, grid, world)
    count, right, wrong, null, answer, reaction, power, difference, squared = world.sum(sums).tolist()
    if count == 0:
        return None
    mean = difference / count
    spread = max(squared / count - mean * mean, 0.0)
    error = math.sqrt(spread / max(count - 1, 1))
    significance = mean / error if error > 0 else 0.0
    return CaptionGap(
        right=right / count,
        wrong=wrong / count,
        null=null / count,
        answer_power=answer / count,
        reaction=reaction / count,
        target_power=power / count,
        significance=significance,
    )


def _sums(unet: torch.nn.Module, forward: ForwardProcess, grid: Grid, world: World) -> torch.Tensor:
    model: Any = unet
    noisy = forward.add_noise(grid.latents, grid.noise, grid.timesteps).contiguous(memory_format=torch.channels_last)
    target = forward.target(grid.latents, grid.noise, grid.timesteps)
    was_training = model.training
    model.eval()
    answers = []
    for text in (grid.right, grid.wrong, grid.null):
        with world.accelerator.autocast():
            answers.append(model(noisy, grid.timesteps, encoder_hidden_states=text).sample.float())
    model.train(was_training)
    right, wrong, null = (sample_losses(answer, target).double() for answer in answers)
    reaction = sample_losses(answers[0], answers[1]).double()
    difference = wrong - right
    power = target.double().square().flatten(1).mean(1)
    return torch.stack(
        [
            right.new_tensor(len(right)),
            right.sum(),
            wrong.sum(),
            null.sum(),
            answers[0].double().square().flatten(1).mean(1).sum(),
            reaction.sum(),
            power.sum(),
            difference.sum(),
            difference.square().sum(),
        ]
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
