"""Faults of the model and of what moves it: weights that cannot learn, optimizer, averages, exchange of gradients."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from t2i_dev.planted_faults.planting import after_preparation, change_unet, wrap
from t2i_trainer import step as steps
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.world import World

if TYPE_CHECKING:
    from t2i_dev.planted_faults.planting import Put
    from t2i_trainer.prepare import Prepared


def _zero_output(unet: Any) -> None:
    for parameter in unet.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
        parameter.register_hook(torch.zeros_like)


def _deafen(unet: Any) -> None:
    original = unet.forward

    def forward(*arguments: Any, encoder_hidden_states: torch.Tensor, **named: Any) -> Any:
        return original(*arguments, encoder_hidden_states=torch.zeros_like(encoder_hidden_states), **named)

    unet.forward = forward


@torch.no_grad()
def _large_output(unet: Any) -> None:
    unet.conv_out.weight.mul_(10)


def _copies_for_the_optimizer(prepared: Prepared) -> Prepared:
    for group in prepared.state.optimizer.param_groups:
        group["params"] = [torch.nn.Parameter(each.detach().clone()) for each in group["params"]]
    return prepared


def dropped_gradient_exchange(put: Put) -> None:
    """Do not wrap the model by DDP."""
    put(World, "average_gradients_of", lambda _world, module: module)


def average_never_stepped(put: Put) -> None:
    """Let `ema.update` do nothing."""
    put(ExponentialMovingAverage, "update", lambda *_arguments, **_named: None)


def profiles_never_stepped(put: Put) -> None:
    """Let `ema.update` see no power profile."""

    def without(original: Any) -> Any:
        def update(average: ExponentialMovingAverage, step: int, **named: Any) -> None:
            profiles, average.profiles = average.profiles, ()
            original(average, step, **named)
            average.profiles = profiles

        return update

    wrap(put, ExponentialMovingAverage, "update", without)


def rate_times_world_size(put: Put) -> None:
    """Scale the learning rate by the number of processes, as some launchers advise."""
    size = int(os.environ["WORLD_SIZE"])
    wrap(put, steps, "learning_rate_at", lambda original: lambda *arguments: original(*arguments) * size)


output_layer_cannot_move = change_unet(_zero_output)
frozen_weights = change_unet(lambda unet: unet.down_blocks.requires_grad_(False))
captions_never_arrive = change_unet(_deafen)
output_too_large = change_unet(_large_output)
optimizer_of_a_copy = after_preparation(_copies_for_the_optimizer)
