"""What a batch must look like: scale of latents and target, share of null embeddings, other noise on every rank.

`BatchFacts` is measured on the device beside a step and judged a step later; the judgement is pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_api.findings import Finding, FindingName, Severity
from t2i_trainer.sanity.theory import power_tolerance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_trainer.data.feed import Batch

# Pixels lie in [-1, 1]: below 0.15 (19 of 255 grey levels) pictures have no contrast left, or were scaled twice.
_LEAST_PIXEL_DEVIATION = 0.15
_MOST_PIXEL_DEVIATION = 1.0 + 1e-3
# The least share of chance that we believe in: once in a thousand million runs.
_IMPOSSIBLE = 1e-9
# How many numbers of a text embedding tell it from another.
_TEXT_NUMBERS = 8
FACTS = 7


@dataclass(frozen=True)
class BatchFacts:
    """Sums over one rank's batch, or over all ranks'."""

    numbers: int
    latents: float
    latents_squared: float
    target_squared: float
    expected_target_squared: float
    samples: int
    null_samples: int

    @property
    def deviation(self) -> float:
        """Standard deviation of the latents."""
        mean = self.latents / self.numbers
        return math.sqrt(max(self.latents_squared / self.numbers - mean * mean, 0.0))

    @property
    def target_power(self) -> float:
        """E y^2 that this batch should have, by the schedule."""
        return self.expected_target_squared / self.numbers

    def plus(self, other: BatchFacts) -> BatchFacts:
        """Return the sums of both."""
        mine, theirs = self.as_list(), other.as_list()
        return BatchFacts.from_list([a + b for a, b in zip(mine, theirs, strict=True)])

    def as_list(self) -> list[float]:
        """Return the sums in order."""
        return [
            self.numbers,
            self.latents,
            self.latents_squared,
            self.target_squared,
            self.expected_target_squared,
            self.samples,
            self.null_samples,
        ]

    @classmethod
    def from_list(cls, sums: Sequence[float]) -> BatchFacts:
        """Read `measure`'s answer."""
        numbers, mean, squared, target, expected, samples, null = sums
        return cls(int(numbers), mean, squared, target, expected, int(samples), int(null))


@torch.no_grad()
def measure(
    batch: Batch, target: torch.Tensor, kept: torch.Tensor, noise_power: float, null: torch.Tensor
) -> torch.Tensor:
    """Return the sums of `BatchFacts` as float64 [7] on the batch's device, without waiting for it.

    `kept` is E y^2 = kept[t] n + (1 - kept[t]) x^2 by timestep, float [T]: alpha-bar for velocity, ones for epsilon.
    """
    latents = batch.latents
    share = kept.to(latents.device)[batch.timesteps].double()
    squares = latents.double().square().flatten(1).sum(1)
    numbers = latents[0].numel()
    expected = (share * noise_power * numbers + (1 - share) * squares).sum()
    few = null[..., :_TEXT_NUMBERS].to(batch.conditioning)
    is_null = (batch.conditioning[..., :_TEXT_NUMBERS] == few).flatten(1).all(1)
    return torch.stack(
        [
            squares.new_tensor(latents.numel()),
            latents.double().sum(),
            squares.sum(),
            target.double().square().sum(),
            expected,
            squares.new_tensor(len(latents)),
            is_null.double().sum(),
        ]
    )


def judge_scale(facts: BatchFacts, scaling_factor: float | None, step: int) -> list[Finding]:
    """Say where latents do not have the size that the noise schedule is made for.

    A VAE's scaling factor f brings its latents to a standard deviation of 1. Forgotten it leaves 1/f, applied twice f:
    the alarm lies half way, at sqrt(f) and 1/sqrt(f), and never nearer than a factor of 2, which pictures of one kind
    can make by themselves. Pixels (`scaling_factor` None) have no such number.
    """
    deviation = facts.deviation
    if not math.isfinite(deviation):
        return []  # a sample that is not finite is found by its loss
    if scaling_factor is None:
        low, high = _LEAST_PIXEL_DEVIATION, _MOST_PIXEL_DEVIATION
        fits = "pixels lie in [-1, 1]"
    else:
        half = max(math.sqrt(scaling_factor), math.sqrt(1 / scaling_factor), 2.0)
        low, high = 1 / half, half
        fits = f"model.vae.scalingFactor {scaling_factor:g} should bring it to about 1"
    if low <= deviation <= high:
        return []
    cause = "they are scaled twice" if deviation < low else "they are not scaled"
    text = (
        f"latents have a standard deviation of {deviation:.3g} ({fits}): {cause}, so that every timestep is "
        f"{'noisier' if deviation < low else 'less noisy'} than the schedule means. Look at where latents are scaled"
    )
    return [Finding(name=FindingName.LATENT_SCALE, severity=Severity.ERROR, step=step, sentence=text)]


def judge_target(facts: BatchFacts, step: int, slack: float = 0.0) -> list[Finding]:
    """Say where the target's power is not what schedule and prediction type give for these very latents and timesteps.

    `slack` is what offset noise, which is drawn once a channel, adds to the tolerance.
    """
    expected = facts.target_power
    found = facts.target_squared / facts.numbers
    if not math.isfinite(found) or abs(found / expected - 1) <= power_tolerance(facts.numbers) + slack:
        return []
    text = (
        f"the target's mean square is {found:.4g}, the schedule gives {expected:.4g}: noise is not of unit variance, "
        "or training uses another schedule or prediction type than the spec names"
    )
    return [Finding(name=FindingName.TARGET_SCALE, severity=Severity.ERROR, step=step, sentence=text)]


def judge_null(samples: int, null_samples: int, dropout: float, step: int) -> list[Finding]:
    """Say where captions are not replaced by the null embedding that sampling uses.

    Each sample is dropped with probability p, independently: so few (or none) among n have the probability of the
    binomial's lower tail, bounded by Chernoff's exp(-n KL(share, p)).
    """
    if dropout <= 0 or samples == 0:
        return []
    share = null_samples / samples
    if share >= dropout or _tail(samples, share, dropout) > _IMPOSSIBLE:
        return []
    text = (
        f"of {samples} samples {null_samples} had the null embedding that sampling uses, {dropout * samples:.0f} are "
        "due: captions are dropped to another vector, or not at all, and classifier-free guidance would steer away "
        "from what was never trained. Use the text encoder's empty caption in both places"
    )
    return [Finding(name=FindingName.NULL_EMBEDDING_UNSEEN, severity=Severity.ERROR, step=step, sentence=text)]


def judge_rank_noise(noise: Sequence[float], step: int) -> list[Finding]:
    """Say where two ranks draw the same noise."""
    if len(set(noise)) == len(noise):
        return []
    text = (
        f"{len(noise) - len(set(noise)) + 1} of {len(noise)} ranks drew the same noise: their gradients repeat each "
        "other, as if the batch were smaller. The seed of noise must differ by rank, or come from the sample's index"
    )
    return [Finding(name=FindingName.RANK_NOISE_EQUAL, severity=Severity.ERROR, step=step, sentence=text)]


def judge_rank_weights(weights: Sequence[float], step: int) -> list[Finding]:
    """Say where ranks hold different weights."""
    if len(set(weights)) <= 1:
        return []
    text = (
        f"{len(weights)} ranks hold {len(set(weights))} different models: gradients are not averaged, so each rank "
        "trains a model of its own. Call the wrapped (DDP) model, and step after all of the backward pass"
    )
    return [Finding(name=FindingName.RANK_WEIGHTS_DIFFER, severity=Severity.ERROR, step=step, sentence=text)]


def _tail(samples: int, share: float, dropout: float) -> float:
    divergence = (1 - share) * math.log((1 - share) / (1 - dropout)) if share < 1 else 0.0
    if share > 0:
        divergence += share * math.log(share / dropout)
    return math.exp(-samples * divergence)
