"""The noise schedule that training really uses, held against the formula that the spec names. Pure (NumPy)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from t2i_api.findings import Finding, FindingName, Severity
from t2i_api.spec_training import NoiseSchedule, PredictionType
from t2i_trainer.sanity.theory import epsilon_is_usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from t2i_api.spec_training import Diffusion

# Schedulers compute in fp32, and the product of a thousand factors carries their rounding.
_TOLERANCE = 1e-3
_LARGEST_COSINE_BETA = 0.999


def alphas_cumprod(diffusion: Diffusion) -> NDArray[np.float64]:
    """Return alpha-bar of a job by the published formulas, float64 [T].

    Linear: Ho et al. 2020; scaled linear: Rombach et al. 2022; cosine: Nichol & Dhariwal 2021 (s = 0.008, beta at most
    0.999); zero terminal SNR: Lin et al. 2024, algorithm 1.
    """
    steps = diffusion.train_timesteps
    match diffusion.schedule:
        case NoiseSchedule.LINEAR:
            betas = np.linspace(1e-4, 0.02, steps)
        case NoiseSchedule.SCALED_LINEAR:
            betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), steps) ** 2
        case NoiseSchedule.COSINE:
            at = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
            betas = np.minimum(1 - at[1:] / at[:-1], _LARGEST_COSINE_BETA)
    roots = np.sqrt(np.cumprod(1 - betas))
    if diffusion.zero_terminal_snr:
        roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    squares: NDArray[np.float64] = roots**2
    return squares


def judge_schedule(used: NDArray[np.float64], diffusion: Diffusion) -> list[Finding]:
    """Say where the schedule in use is another one than the spec's, or one from which no picture can be had."""
    found = []
    due = alphas_cumprod(diffusion)
    if used.shape != due.shape or np.abs(used - due).max() > _TOLERANCE:
        where = "its length" if used.shape != due.shape else f"timestep {int(np.abs(used - due).argmax())}"
        text = (
            f"training uses another noise schedule than diffusion.schedule {diffusion.schedule} (they differ at "
            f"{where}): the checkpoint's manifest and the sampler would name a schedule that the model never saw"
        )
        found.append(Finding(name=FindingName.SCHEDULE_MISMATCH, severity=Severity.ERROR, step=0, sentence=text))
    if diffusion.prediction_type is PredictionType.EPSILON and not epsilon_is_usable(float(used[-1])):
        text = (
            f"predictionType Epsilon on a schedule that ends at alpha-bar {float(used[-1]):.1e}: sampling begins there "
            "and divides the prediction's error by its root, so pictures are ruined by rounding alone. Set "
            "diffusion.predictionType to VPrediction, or a schedule that keeps some signal (ScaledLinear)"
        )
        found.append(Finding(name=FindingName.SCHEDULE_UNUSABLE, severity=Severity.ERROR, step=0, sentence=text))
    return found
