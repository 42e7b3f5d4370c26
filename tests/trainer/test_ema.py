"""The averaged weights follow the definition, and their warm-up is a pure function of the step."""

from __future__ import annotations

import pytest
import torch

from t2i_trainer.ema import ExponentialMovingAverage, decay_at


def test_the_average_is_that_of_the_definition() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9)
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    for step in range(1, 200):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        decay = decay_at(step, 0.9)
        expected = [
            decay * old + (1 - decay) * new.detach() for old, new in zip(expected, model.parameters(), strict=True)
        ]
    for mine, theirs in zip(average.module.parameters(), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_the_average_is_not_trained_and_shares_no_memory() -> None:
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9)
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    theirs, ours = next(average.module.parameters()), next(model.parameters())
    assert theirs.data_ptr() != ours.data_ptr()


@pytest.mark.parametrize(("step", "decay", "expected"), [(1, 0.999, 2 / 11), (8, 0.999, 0.5), (10**6, 0.999, 0.999)])
def test_the_decay_warms_up(step: int, decay: float, expected: float) -> None:
    assert decay_at(step, decay) == pytest.approx(expected)
