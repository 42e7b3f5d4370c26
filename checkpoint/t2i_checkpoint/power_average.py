"""Power-function averages of the weights, as mathematics: trainer, checkpoints and command line agree on it here. Pure.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", section 3 and appendix C: an
average of exponent gamma weighs the weights of step s in proportion to s^gamma up to its own step t, whatever t is;
`sigma_rel` is the relative width of that profile, the number that people choose.
"""

from __future__ import annotations

import math
import re

WIDEST = 1 / math.sqrt(12)  # gamma 0: all steps alike
SNAPSHOTS = "ema/"  # below checkpoint.uri: averages that outlive the checkpoints they were part of
_FILE = re.compile(r"ema_power/(0\.\d{1,9})\.safetensors")
_DIGITS = 9


def width_of(gamma: float) -> float:
    """Return sigma_rel of an exponent: the standard deviation of the profile over its length (equation 123)."""
    return math.sqrt(gamma + 1) / (gamma + 2) / math.sqrt(gamma + 3)


def gamma_of(width: float) -> float:
    """Return the exponent of a relative width in (0, 0.288]: the real root of (g + 2)^2 (g + 3) = (g + 1) / width^2.

    Raises ValueError outside. The left side over (g + 1) grows from g = 0 on, so that halving finds the one root there.
    """
    if not 0 < width <= WIDEST:
        raise ValueError(f"a power-function average has a relative width in (0, {WIDEST:.4f}], not {width}")
    low, high = 0.0, 1.0
    while width_of(high) > width:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if width_of(middle) > width else (low, middle)
    return (low + high) / 2


def decay_between(before: int, step: int, gamma: float) -> float:
    """Return what is kept of the average of `before` in that of `step`: the product of (1 - 1/s)^(gamma + 1) between.

    The product telescopes to (before / step)^(gamma + 1), so that k steps at once are exact; from step 0 nothing is
    kept, and the initial weights are forgotten.
    """
    return math.pow(before / step, gamma + 1)


def overlap(step_a: float, gamma_a: float, step_b: float, gamma_b: float) -> float:
    """Return the inner product of two profiles: the integral of both over all steps (equation 126)."""
    if step_a > step_b:
        return overlap(step_b, gamma_b, step_a, gamma_a)
    ratio = math.pow(step_a / step_b, gamma_b)
    return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * ratio / step_b


def profile_file(width: float) -> str:
    """Return where a checkpoint keeps the average of this width: `ema_power/0.05.safetensors`."""
    text = f"{width:.{_DIGITS}f}".rstrip("0")
    return f"ema_power/{text}.safetensors"


def width_of_file(path: str) -> float | None:
    """Return the width that a path of a checkpoint names, or None where it is another file."""
    found = _FILE.fullmatch(path)
    return None if found is None else float(found[1])
