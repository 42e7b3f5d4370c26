"""The learning rate as the spec says it, and the one that the weights felt.

The schedule is written a second time on purpose: a gate that asked `optim.py` would repeat its mistakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from t2i_trainer.sanity.movement import measured_rate
from t2i_trainer.shares import share_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from t2i_api.spec_training import Training

_NUMBERS = 64
_TENSORS = 64
# A step that is rounded to a tenth of itself has, over some dozens of weights, the right size on average.
_ROUNDING = 0.1
_LEAST_NUMBERS = 64


def scheduled_rate(step: int, training: Training) -> float:
    """Return the rate of step `step` (1 is the first): linear warm-up, then training.learningRate."""
    return training.learning_rate * min(1.0, step / max(training.warmup_steps, 1))


class RateProbe:
    """Holds some weights before a step; `measure` reads the rate that moved them out of AdamW's own moments."""

    def __init__(self, optimizer: torch.optim.AdamW) -> None:
        self._optimizer = optimizer
        every = [each for group in optimizer.param_groups for each in group["params"] if share_of(each).numel()]
        stride = max(1, len(every) // _TENSORS)
        self._chosen = every[::stride][:_TENSORS]
        self._before: NDArray[np.float32] | None = None

    def hold(self) -> None:
        """Remember the weights as they are before a step."""
        self._before = self._numbers(self._chosen)

    def measure(self, scheduled: float) -> float | None:
        """Return the rate of the step since `hold`, from the weights that fp32 lets move at about the scheduled rate.

        None before any step, where nothing moved (it was left out), or where all weights are too large for such a rate:
        in a long warm-up the norms' weights of 1 stand still for a while.
        """
        before, self._before = self._before, None
        states = [self._optimizer.state[each] for each in self._chosen if each in self._optimizer.state]
        if before is None or len(states) < len(self._chosen):
            return None
        now = self._numbers(self._chosen)
        if np.array_equal(before, now):
            return None
        group = self._optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        steps = float(states[0]["step"])
        mean = self._numbers([state["exp_avg"] for state in states]) / (1 - beta1**steps)
        square = self._numbers([state["exp_avg_sq"] for state in states]) / (1 - beta2**steps)
        direction = mean / (np.sqrt(square) + group["eps"])
        fine = np.spacing(np.abs(before)) <= _ROUNDING * scheduled
        if np.count_nonzero(fine) < _LEAST_NUMBERS:
            return None
        return measured_rate(before[fine], now[fine], direction[fine].astype(np.float32), group["weight_decay"])

    @staticmethod
    def _numbers(tensors: list[torch.Tensor]) -> NDArray[np.float32]:
        held = [share_of(each) for each in tensors]
        views = [each.as_strided((min(each.numel(), _NUMBERS),), (1,)) for each in held]
        numbers: NDArray[np.float32] = torch.cat([view.float() for view in views]).cpu().numpy()
        return numbers
