"""Which weights moved, and by how much, judged on a small part of every tensor. Pure (NumPy).

AdamW (Loshchilov & Hutter 2019) first shrinks a weight by rate x weight_decay, then moves it by about the rate,
whatever the size of its gradient. After steps with rates r_1 ... r_n an ordinary weight has therefore travelled between
sum(r) (always the same way) and sum(r)/sqrt(n) (at random). A tensor that travelled less than a thousandth of sum(r)
got no gradient: even at random that takes a million steps between two looks, and looks are 500 steps apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t2i_api.findings import Finding, FindingName, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STILL = 1e-3
# Fewer steps than this say nothing yet: a zero-initialised layer hides those before it for a step, a warm-up begins at
# 0.
LEAST_STEPS = 10
OUTPUT_LAYER = "conv_out."
CLASSIC = "classic"
# The measured rate carries the rounding of fp32 weights; a planted or real mistake is a factor of two or more.
RATE_TOLERANCE = 0.05
# Moves of less than a few units in the last place of fp32 may be lost altogether.
_RESOLUTION = 5e-7
_NAMED = 3


@dataclass(frozen=True)
class Span:
    """What happened to the weights between two looks: the rates of the steps that were taken, and the decay."""

    rates: tuple[float, ...]
    weight_decay: float

    @property
    def travel(self) -> float:
        """How far a weight may have come."""
        return sum(self.rates)

    @property
    def shrinkage(self) -> float:
        """What weight decay alone leaves of a weight."""
        return float(np.prod([1 - rate * self.weight_decay for rate in self.rates]))


def still_tensors(
    before: Sequence[NDArray[np.float32]], now: Sequence[NDArray[np.float32]], span: Span
) -> NDArray[np.bool_]:
    """Return which tensors stood still, but for weight decay; never one whose moves fp32 could not show."""
    limit = STILL * span.travel
    typical = span.travel / max(len(span.rates), 1)
    shrinkage = np.float32(span.shrinkage)
    return np.array(
        [
            typical > _RESOLUTION * _rms(old) and (_rms(new - old) < limit or _rms(new - old * shrinkage) < limit)
            for old, new in zip(before, now, strict=True)
        ]
    )


def judge_movement(
    names: Sequence[str], still: NDArray[np.bool_], step: int, steps: int, *, output_is_zero: bool = False
) -> list[Finding]:
    """Name what stood still for `steps` steps; an output layer of zeros keeps everything before it still as well."""
    stuck = [name for name, each in zip(names, still, strict=True) if each]
    if not stuck:
        return []
    if len(stuck) == len(names) and not output_is_zero:
        text = (
            f"not one weight moved in {steps} steps: the optimizer is not stepped, holds other parameters than the "
            "model's, or its learning rate is 0. Look at how the optimizer is built"
        )
        return [Finding(name=FindingName.NO_WEIGHT_MOVES, severity=Severity.ERROR, step=step, sentence=text)]
    found = []
    if all(name in stuck for name in names if name.startswith(OUTPUT_LAYER)):
        text = (
            f"the output layer (conv_out) did not move in {steps} steps: it is frozen, detached or multiplied by zero, "
            "so the loss can never fall below its trivial level. Look at requires_grad and at what follows conv_out"
        )
        found.append(Finding(name=FindingName.OUTPUT_LAYER_STUCK, severity=Severity.ERROR, step=step, sentence=text))
    others = [name for name in stuck if not name.startswith(OUTPUT_LAYER)]
    if others and not (found and output_is_zero):
        text = (
            f"{len(others)} of {len(names)} tensors did not move in {steps} steps ({_some(others)}): they get no "
            "gradient. Look for requires_grad=False, a detach, or layers that the forward pass leaves out"
        )
        found.append(Finding(name=FindingName.FROZEN_WEIGHTS, severity=Severity.ERROR, step=step, sentence=text))
    return found


def measured_rate(
    before: NDArray[np.float32], now: NDArray[np.float32], direction: NDArray[np.float32], weight_decay: float
) -> float | None:
    """Return the learning rate that one step really had; `direction` is AdamW's m / (sqrt(v) + eps), bias-corrected.

    The step is -rate (direction + decay x weight), so the rate is the projection of the one on the other. None where
    the direction has no length.
    """
    whole = direction.astype(np.float64) + weight_decay * before.astype(np.float64)
    length = float(whole @ whole)
    if length == 0 or not np.isfinite(length):
        return None
    return -float((now.astype(np.float64) - before.astype(np.float64)) @ whole) / length


def judge_rate(measured: float | None, scheduled: float, step: int, world_size: int) -> list[Finding]:
    """Say where the applied learning rate is not the schedule's."""
    if measured is None or scheduled <= 0:
        return []
    factor = measured / scheduled
    if abs(factor - 1) <= RATE_TOLERANCE:
        return []
    times_world = world_size > 1 and abs(factor / world_size - 1) <= RATE_TOLERANCE
    cause = (
        "it is multiplied by the world size, or the schedule is stepped once a process"
        if times_world
        else "the schedule is stepped more or less often than once a step, or the optimizer overrides it"
    )
    text = (
        f"the weights moved with a learning rate of {measured:.3g}, {factor:.2f} times the {scheduled:.3g} that "
        f"training.learningRate and warmupSteps give: {cause}"
    )
    return [Finding(name=FindingName.LEARNING_RATE, severity=Severity.ERROR, step=step, sentence=text)]


def judge_averages(
    names: Sequence[str],
    before: Sequence[NDArray[np.float32]],
    now: Sequence[NDArray[np.float32]],
    *,
    step: int,
    steps: int,
) -> list[Finding]:
    """Name the averages that stayed bit by bit as they were while the weights moved.

    `names` are `<average>/<tensor>`: the average is `CLASSIC`, or the width of a power profile.
    """
    alive = {
        name.partition("/")[0]
        for name, old, new in zip(names, before, now, strict=True)
        if not np.array_equal(old, new)
    }
    stuck = [each for each in dict.fromkeys(name.partition("/")[0] for name in names) if each not in alive]
    if not stuck:
        return []
    text = f"the EMA weights did not change in {steps} steps while the weights did: the average is never updated, and "
    text += "pictures and the final model would be drawn from the initial weights. Look at where ema.update is called"
    if CLASSIC not in stuck:
        text = (
            f"the EMA of training.ema.powerWidths {', '.join(stuck)} did not change in {steps} steps while the weights "
            "did: ema.update passes it over, and `t2i ema reconstruct` would make models of the weights that it began "
            "with. Look at how ema.update goes through its profiles"
        )
    return [Finding(name=FindingName.EMA_STUCK, severity=Severity.ERROR, step=step, sentence=text)]


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
