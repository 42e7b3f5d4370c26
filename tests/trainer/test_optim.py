"""The learning rate needs no state: it is a function of the step."""

from __future__ import annotations

import pytest
import torch

from t2i_api.spec_training import Training
from t2i_trainer.optim import build_optimizer, learning_rate_at, set_learning_rate


def training(warmup_steps: int) -> Training:
    return Training(steps=100, global_batch_size=4, learning_rate=0.1, warmup_steps=warmup_steps)


@pytest.mark.parametrize(
    ("warmup", "step", "rate"), [(0, 1, 0.1), (10, 1, 0.01), (10, 5, 0.05), (10, 10, 0.1), (10, 11, 0.1), (10, 99, 0.1)]
)
def test_the_rate_rises_in_a_line_and_then_stays(warmup: int, step: int, rate: float) -> None:
    assert learning_rate_at(step, training(warmup)) == pytest.approx(rate)


def test_a_set_rate_moves_weights_by_it() -> None:
    """AdamW's first step moves every weight by the learning rate, whatever the gradient's size."""
    layer = torch.nn.Linear(2, 1, bias=False)
    optimizer = build_optimizer(layer, training(0).model_copy(update={"weight_decay": 0.0}))
    before = layer.weight.detach().clone()
    set_learning_rate(optimizer, 0.25)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(before - layer.weight.detach(), torch.full((1, 2), 0.25))
