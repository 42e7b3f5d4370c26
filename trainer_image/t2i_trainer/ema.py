"""The exponential moving average of the weights, as a UNet of its own that pictures are drawn with."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


class ExponentialMovingAverage:
    """`module` holds the average; with `warms_up` the decay grows, so that a random initialisation is forgotten."""

    def __init__(self, model: nn.Module, decay: float, *, warms_up: bool = True) -> None:
        self.module = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
        self._decay = decay
        self._warms_up = warms_up
        self._averages = tuple(self.module.parameters())
        self._sources = tuple(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` (1 is the first)."""
        # The multi-tensor operations have no public name yet; torch.optim uses the same.
        decay = decay_at(step, self._decay) if self._warms_up else self._decay
        torch._foreach_lerp_(self._averages, self._sources, 1.0 - decay)


def decay_at(step: int, decay: float) -> float:
    """Return the decay of a step: (1 + step) / (10 + step) until that reaches `decay` (as in Diffusers' EMAModel)."""
    return min(decay, (1 + step) / (10 + step))
