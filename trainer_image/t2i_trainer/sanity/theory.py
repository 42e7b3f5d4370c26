"""What the loss of a diffusion run must be, from its schedule alone: before the first step, and without learning. Pure.

Notation: a = alpha-bar of a timestep, e = noise with E e^2 = n, x = latents, y = target, o = the UNet's output.

*Power of the target.* For epsilon y = e, so E y^2 = n; for velocity y = sqrt(a) e - sqrt(1 - a) x (Salimans & Ho 2022),
so E y^2 = a n + (1 - a) E x^2. Noise is drawn independently of x, hence no mixed term.

*The trivial answer.* The best predictor that knows the timestep but not what x_t shows is E[y | t]: 0 for epsilon and
-sqrt(1 - a) E x for velocity. What it leaves is n, or a n + (1 - a) Var x, Var x being taken around the mean picture. A
UNet whose output cannot move, whose target is unrelated to its input or whose gradients are lost stays there or above.

*The first loss.* Diffusers' UNet ends in GroupNorm, SiLU and conv_out, which keeps PyTorch's initialisation: weights
and bias uniform in +-1/sqrt(f) with f = 9 C inputs, so of variance 1/(3 f). GroupNorm hands SiLU values z of mean 0 and
variance 1, and E silu(z)^2 = 0.3557 for a normal z. The output's power is then 0.3557/3 = 0.119 plus the bias' 1/(3 f),
independent of y: the first loss is E y^2 + 0.119 (a zero-initialised conv_out: E y^2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t2i_api.spec_training import PredictionType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# E silu(z)^2 and E |silu(z)| for z ~ N(0, 1), by quadrature.
SILU_POWER = 0.3557
SILU_SIZE = 0.3992
RANDOM_OUTPUT_POWER = SILU_POWER / 3
# A channel's power is that of one random projection of features that are much alike at every pixel: 0.119 times a
# chi-squared number with one degree of freedom for each output channel, whose mean has variance 2 / channels.
_OUTPUT_SIGMAS = 5.0
# What a random output may correlate with the target, as a share of its power: the two are independent, so that only
# chance remains. Of 240 random UNets (3, 4 and 12 channels) the largest was 0.04.
_CHANCE = 0.12
# bf16 keeps 8 bits: a prediction is right to 2^-9 at best.
_ROUNDING = 2.0**-9
# How often AdamW must have been able to change the output by the target's own size before we say that it has not.
_CROSSINGS = 10.0
_LEAST_STEPS = 50
_LEAST_WINDOW_STEPS = 20
_LEAST_WINDOW_SAMPLES = 512
QUARTERS = 4


@dataclass(frozen=True)
class DataScale:
    """`second_moment` is E x^2, `variance` that around the mean picture; both per number of a latent."""

    second_moment: float
    variance: float


@dataclass(frozen=True)
class Levels:
    """Losses by timestep, float64 [T]: E y^2, and what the trivial answer leaves."""

    power: NDArray[np.float64]
    trivial: NDArray[np.float64]

    def of_mean_picture(self, quarter: int | None = None) -> float:
        """Return how far knowing the mean picture takes the loss below E y^2, in a quarter of the timesteps or all.

        Quarter 0 is the least noise.
        """
        gain = self.power - self.trivial
        return float((gain if quarter is None else np.array_split(gain, QUARTERS)[quarter]).mean())

    @property
    def mean_trivial(self) -> float:
        """The trivial level of a batch: timesteps are drawn evenly."""
        return float(self.trivial.mean())


def levels(
    alphas_cumprod: NDArray[np.float64], prediction: PredictionType, data: DataScale, noise_power: float = 1.0
) -> Levels:
    """Return the levels of a schedule; `noise_power` is E e^2, 1 + offsetNoise^2."""
    kept = np.asarray(alphas_cumprod, dtype=np.float64)
    if prediction is PredictionType.EPSILON:
        flat = np.full_like(kept, noise_power)
        return Levels(flat, flat)
    return Levels(
        kept * noise_power + (1 - kept) * data.second_moment,
        kept * noise_power + (1 - kept) * data.variance,
    )


def initial_loss_bounds(target_power: float, out_channels: int) -> tuple[float, float]:
    """Return between which bounds the first loss of a random UNet lies, for a batch of this target power."""
    chance = _CHANCE * target_power
    spread = 1 + _OUTPUT_SIGMAS * math.sqrt(2 / out_channels)
    return target_power - chance, target_power + RANDOM_OUTPUT_POWER * spread + chance


def power_tolerance(numbers: int) -> float:
    """Return how far the mean square of this many normal numbers may lie from its expectation, relatively.

    Six standard deviations of the mean of squares (sqrt(2/n)), twice for the mixed term of velocity.
    """
    return 12 * math.sqrt(2 / max(numbers, 1))


def learning_deadline(rates: Sequence[float], out_features: int, target_power: float) -> int | None:
    """Return the first step by which a run must have left the trivial answer; None beyond the rates given.

    AdamW moves each weight by about the learning rate a step. All 9 C weights of an output number moving together
    change it by their number times the mean feature (0.40), so the output can travel the target's own size once the
    rates add up to sqrt(E y^2) / (0.40 x 9 C). We ask for ten times that, and for 50 steps at least: Adam's second
    moment, whose memory is 1000 steps, makes the first ones large and rough.
    """
    needed = _CROSSINGS * math.sqrt(target_power) / (SILU_SIZE * out_features)
    travelled = 0.0
    for step, rate in enumerate(rates, start=1):
        travelled += rate
        if travelled >= needed and step >= _LEAST_STEPS:
            return step
    return None


def window(global_batch_size: int) -> int:
    """Return over how many steps a loss is averaged before it is judged: 512 samples, and 20 steps at least."""
    return max(_LEAST_WINDOW_STEPS, math.ceil(_LEAST_WINDOW_SAMPLES / global_batch_size))


def epsilon_is_usable(last_alpha_cumprod: float) -> bool:
    """Whether a picture can be had from epsilon at the last timestep, where sampling begins.

    x = (x_t - sqrt(1 - a) e) / sqrt(a): a mistake of the prediction grows by 1/sqrt(a). Where the rounding of bf16
    alone (2^-9) grows larger than the picture itself, nothing can be had. Stable Diffusion's schedule ends at a =
    0.0047 (mistakes grow 15-fold), DDPM's at 4e-5 (158-fold), the cosine schedule at 2e-9 (20,000-fold).
    """
    return math.sqrt(max(last_alpha_cumprod, 0.0)) >= _ROUNDING
