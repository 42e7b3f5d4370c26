"""The loss on a fixed grid: the same pictures, noise and timesteps each time, so that the curve shows the model alone.

Every loss is taken with the right caption, with another picture's and with none: the differences say whether captions
are understood (`sanity/captions.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from t2i_trainer.diffusion import sample_losses
from t2i_trainer.sanity.captions import CaptionGap

if TYPE_CHECKING:
    from t2i_trainer.diffusion import ForwardProcess
    from t2i_trainer.evaluation_grid import Grid
    from t2i_trainer.world import World


@torch.no_grad()
def evaluate(unet: torch.nn.Module, forward: ForwardProcess, grid: Grid | None, world: World) -> CaptionGap | None:
    """Return the mean losses over all ranks' slices, the same on every rank; None where there is no sample."""
    if grid is None:
        return None
    sums = world.sum(_sums(unet, forward, grid, world))
    count, right, wrong, null, answer, reaction, power, difference, squared = sums.tolist()
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
    # What only fills the slice up is left out here, so that not even a NaN of it counts.
    target, *answers = (each[: grid.count] for each in (target, *answers))
    right, wrong, null = (sample_losses(answer, target).double() for answer in answers)
    reaction = sample_losses(answers[0], answers[1]).double()
    difference = wrong - right
    power = target.double().square().flatten(1).mean(1)
    return torch.stack(
        [
            right.new_tensor(grid.count),
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
