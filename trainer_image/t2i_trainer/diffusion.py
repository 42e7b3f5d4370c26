"""The forward process and the loss: noise in, target out, by Diffusers' schedulers.

What the job may choose of them (schedule, prediction type, zero terminal SNR, min-SNR) meets here and nowhere else, for
training and sampling alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from t2i_api.spec_training import NoiseSchedule, PredictionType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_api.spec_training import Diffusion

PREDICTION_TYPES: Mapping[PredictionType, str] = {
    PredictionType.EPSILON: "epsilon",
    PredictionType.V_PREDICTION: "v_prediction",
}
# Betas of DDPM (Ho et al. 2020) and of Stable Diffusion; the cosine schedule computes its own (Nichol & Dhariwal 2021).
_SCHEDULES: Mapping[NoiseSchedule, Mapping[str, Any]] = {
    NoiseSchedule.LINEAR: {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    NoiseSchedule.SCALED_LINEAR: {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    NoiseSchedule.COSINE: {"beta_schedule": "squaredcos_cap_v2"},
}
# Log signal-to-noise where sampling begins on the cosine schedule, whose last steps are numerically pure noise;
# the value that Diffusers documents for it.
_COSINE_LAMBDA_MIN = -5.1

# Diffusers carries no types of its own.
_DDPM: Any = cast("Any", DDPMScheduler)
_DPM_SOLVER: Any = cast("Any", DPMSolverMultistepScheduler)


class ForwardProcess:
    """q(x_t | x_0), the prediction target of a job, and how much each timestep's loss counts.

    `loss_weights` float32 [T], or None where all count alike. They weigh what is learnt, not what is reported.
    """

    def __init__(self, diffusion: Diffusion, device: torch.device) -> None:
        self._prediction_type = diffusion.prediction_type
        self._scheduler = _DDPM(**scheduler_options(diffusion))
        self._scheduler.alphas_cumprod = self._scheduler.alphas_cumprod.to(device)
        weights = min_snr_weights(self.alphas_cumprod, diffusion)
        self.loss_weights = None if weights is None else weights.to(device)

    @property
    def alphas_cumprod(self) -> torch.Tensor:
        """The share of the picture's variance that is left at each timestep, as really used, float32 [T]."""
        alphas: torch.Tensor = self._scheduler.alphas_cumprod
        return alphas

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return x_t, float32 [B, C, H, W]."""
        noisy: torch.Tensor = self._scheduler.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return what the UNet should predict for x_t: the noise, or the velocity."""
        if self._prediction_type is PredictionType.EPSILON:
            return noise
        velocity: torch.Tensor = self._scheduler.get_velocity(latents, noise, timesteps)
        return velocity

    def weighted(self, losses: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Return each sample's loss as it is learnt from, [B]."""
        return losses if self.loss_weights is None else losses * self.loss_weights[timesteps]


def min_snr_weights(alphas_cumprod: torch.Tensor, diffusion: Diffusion) -> torch.Tensor | None:
    """Return Hang et al.'s (2023) weights of each timestep, float32 [T], or None without `minSnrGamma`.

    Their loss on x_0 has weight min(SNR, gamma). Seen from epsilon it is divided by SNR, seen from velocity by SNR + 1
    (their appendix). A timestep without signal would have weight 0: `Diffusion` takes no `zeroTerminalSnr` beside it.
    """
    if diffusion.min_snr_gamma is None:
        return None
    signal = alphas_cumprod.double()
    ratio = signal / (1 - signal)
    seen_from = ratio if diffusion.prediction_type is PredictionType.EPSILON else ratio + 1
    return (ratio.clamp(max=diffusion.min_snr_gamma) / seen_from).float()


def scheduler_options(diffusion: Diffusion) -> dict[str, Any]:
    """Return the options that training and sampling schedulers share."""
    return {
        "num_train_timesteps": diffusion.train_timesteps,
        "prediction_type": PREDICTION_TYPES[diffusion.prediction_type],
        "rescale_betas_zero_snr": diffusion.zero_terminal_snr,
        **_SCHEDULES[diffusion.schedule],
    }


def sampling_scheduler(diffusion: Diffusion) -> Any:
    """Return DPM-Solver++ (Lu et al. 2022), second order, for the job's schedule.

    With zero terminal SNR it starts at the very last timestep (Lin et al. 2023, "trailing"), which was trained on pure
    noise; the cosine schedule without it starts where the signal is still a number.
    """
    # An offset is used by neither spacing; StableDiffusionPipeline would change and warn of any other than 1.
    options = {**scheduler_options(diffusion), "steps_offset": 1}
    if diffusion.zero_terminal_snr:
        options["timestep_spacing"] = "trailing"
    elif diffusion.schedule is NoiseSchedule.COSINE:
        options["lambda_min_clipped"] = _COSINE_LAMBDA_MIN
    return _DPM_SOLVER(algorithm_type="dpmsolver++", solver_order=2, **options)


def sample_losses(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return each sample's mean squared error, float32 [B]."""
    return (prediction.float() - target.float()).square().flatten(1).mean(1)
