"""The rate that the spec gives, and the one that is read out of a real AdamW's steps."""

from __future__ import annotations

import pytest
import torch

from t2i_api.spec_training import Training
from t2i_trainer.sanity.movement import RATE_TOLERANCE
from t2i_trainer.sanity.rates import RateProbe, scheduled_rate


class Steps:
    """A layer between norms with weights of 1, as in a UNet, and its AdamW; or what other model is given."""

    def __init__(self, model: torch.nn.Module | None = None) -> None:
        torch.manual_seed(0)
        norms = torch.nn.LayerNorm(256), torch.nn.LayerNorm(256)
        self.model = model or torch.nn.Sequential(norms[0], torch.nn.Linear(256, 256), norms[1])
        self.optimizer = torch.optim.AdamW(self.model.parameters(), weight_decay=0.1)
        self.probe = RateProbe(self.optimizer)

    def take(self, rate: float) -> None:
        """Take one step with this learning rate."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.probe.hold()
        self.model(torch.randn(4, 256)).pow(3).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def test_the_rate_is_read_out_of_adamws_own_moments() -> None:
    steps = Steps()
    assert steps.probe.measure(1e-2) is None
    for rate in (1e-2, 3e-3, 3e-3):
        steps.take(rate)
        assert steps.probe.measure(rate) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("rate", [1e-8, 1e-7, 1e-6])
@pytest.mark.parametrize("factor", [1, 2])
def test_rates_of_a_long_warm_up_are_read_from_the_weights_that_can_follow(rate: float, factor: int) -> None:
    """1e-8: 1e-4 after the first of 10,000 steps; fp32 cannot add it to a weight of 1."""
    steps = Steps()
    steps.take(factor * rate)
    assert steps.probe.measure(rate) == pytest.approx(factor * rate, rel=RATE_TOLERANCE / 2)


def test_a_rate_that_no_weight_can_follow_is_not_read() -> None:
    steps = Steps(torch.nn.LayerNorm(256, bias=False))
    steps.take(2e-6)
    assert steps.probe.measure(2e-6) == pytest.approx(2e-6, rel=RATE_TOLERANCE)
    steps.take(1e-7)
    assert steps.probe.measure(1e-7) is None


def test_the_schedule_of_rates_is_the_specs() -> None:
    training = Training(steps=100, global_batch_size=4, learning_rate=0.01, warmup_steps=10)
    assert [scheduled_rate(step, training) for step in (1, 10, 50)] == pytest.approx([0.001, 0.01, 0.01])
