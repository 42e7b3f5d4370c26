"""AdamW and its learning rate, which is a pure function of the step and therefore needs no state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from t2i_api.spec_training import Training


def build_optimizer(model: nn.Module, training: Training) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019) over all parameters, fused into one kernel."""
    return torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )


def learning_rate_at(step: int, training: Training) -> float:
    """Return the learning rate of a step (1 is the first): linear warm-up from 0, then constant."""
    if step >= training.warmup_steps:
        return training.learning_rate
    return training.learning_rate * step / training.warmup_steps


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
