"""Noise and targets agree with the papers' formulas for every schedule and prediction type."""

from __future__ import annotations

import pytest
import torch

from t2i_api.spec_training import Diffusion, NoiseSchedule, PredictionType
from t2i_checkpoint.wanted import noise_schedule_text
from t2i_trainer.diffusion import ForwardProcess, sample_losses, sampling_scheduler, scheduler_options

COSINE = Diffusion()
LINEAR = Diffusion(schedule=NoiseSchedule.LINEAR, prediction_type=PredictionType.EPSILON)
SCALED = Diffusion(schedule=NoiseSchedule.SCALED_LINEAR, prediction_type=PredictionType.V_PREDICTION)
CPU = torch.device("cpu")


def a_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 3, 4, 4, generator=generator) for _ in range(2))
    return latents, noise, torch.tensor([0, 500, 990])


@pytest.mark.parametrize("diffusion", [COSINE, LINEAR, SCALED], ids=lambda d: d.schedule.value)
def test_noisy_latent_and_prediction_give_back_the_picture(diffusion: Diffusion) -> None:
    """x0 = (x_t - sigma eps) / alpha, or alpha x_t - sigma v (Salimans & Ho 2022, appendix D)."""
    latents, noise, timesteps = a_batch()
    process = ForwardProcess(diffusion, CPU)
    noisy, target = process.add_noise(latents, noise, timesteps), process.target(latents, noise, timesteps)
    signal = sampling_scheduler(diffusion).alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    alpha, sigma = signal.sqrt(), (1 - signal).sqrt()
    if diffusion.prediction_type is PredictionType.EPSILON:
        recovered = (noisy - sigma * target) / alpha
    else:
        recovered = alpha * noisy - sigma * target
    torch.testing.assert_close(recovered, latents, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("diffusion", [COSINE, LINEAR, SCALED], ids=lambda d: d.schedule.value)
def test_the_schedule_is_the_one_that_manifests_name(diffusion: Diffusion) -> None:
    """Training and the operator's verdict must speak of the same schedule."""
    options = scheduler_options(diffusion)
    assert noise_schedule_text(diffusion) == f"{options['beta_schedule']}, {options['num_train_timesteps']} timesteps"


def test_losses_are_means_over_each_sample() -> None:
    losses = sample_losses(torch.tensor([[1.0, 1.0], [0.0, 4.0]]), torch.zeros(2, 2))
    assert losses.tolist() == [1.0, 8.0]
