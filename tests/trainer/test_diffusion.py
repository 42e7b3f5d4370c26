"""Noise and targets agree with the papers' formulas for every schedule and prediction type."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, cast

import pytest
import torch
from diffusers import DDPMScheduler, training_utils
from pydantic import ValidationError

from t2i_api.spec_training import Diffusion, NoiseSchedule, PredictionType
from t2i_checkpoint.wanted import noise_schedule_text
from t2i_trainer.diffusion import ForwardProcess, sample_losses, sampling_scheduler, scheduler_options

COSINE = Diffusion()
LINEAR = Diffusion(schedule=NoiseSchedule.LINEAR, prediction_type=PredictionType.EPSILON)
SCALED = Diffusion(schedule=NoiseSchedule.SCALED_LINEAR, prediction_type=PredictionType.V_PREDICTION)
PURE_NOISE = Diffusion(zero_terminal_snr=True)
PURE_SCALED = Diffusion(schedule=NoiseSchedule.SCALED_LINEAR, zero_terminal_snr=True)
ALL = [COSINE, LINEAR, SCALED, PURE_NOISE, PURE_SCALED]
CPU = torch.device("cpu")
# Diffusers carries no types of its own.
_DDPM: Any = cast("Any", DDPMScheduler)
_TRAINING: Any = training_utils


def named(diffusion: Diffusion) -> str:
    return noise_schedule_text(diffusion)


def a_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 3, 4, 4, generator=generator) for _ in range(2))
    return latents, noise, torch.tensor([0, 500, 990])


@pytest.mark.parametrize("diffusion", ALL, ids=named)
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


@pytest.mark.parametrize("diffusion", ALL, ids=named)
def test_the_schedule_is_the_one_that_manifests_name(diffusion: Diffusion) -> None:
    """Training and the operator's verdict must speak of the same schedule."""
    options = scheduler_options(diffusion)
    parts = [options["beta_schedule"], f"{options['num_train_timesteps']} timesteps"]
    if options["rescale_betas_zero_snr"]:
        parts.insert(1, "zero terminal SNR")
    assert noise_schedule_text(diffusion) == ", ".join(parts)


@pytest.mark.parametrize("diffusion", [PURE_NOISE, PURE_SCALED], ids=named)
def test_the_last_timestep_is_pure_noise_with_zero_terminal_snr(diffusion: Diffusion) -> None:
    """Lin et al. 2023, algorithm 1: the root of the signal is shifted to end at 0 and scaled to begin as before."""
    latents, noise, _ = a_batch()
    last = torch.full((3,), diffusion.train_timesteps - 1)
    process = ForwardProcess(diffusion, CPU)
    torch.testing.assert_close(process.add_noise(latents, noise, last), noise)
    torch.testing.assert_close(process.target(latents, noise, last), -latents)
    plain = ForwardProcess(diffusion.model_copy(update={"zero_terminal_snr": False}), CPU).alphas_cumprod.sqrt()
    expected = (plain - plain[-1]) * plain[0] / (plain[0] - plain[-1])
    torch.testing.assert_close(process.alphas_cumprod.sqrt(), expected, rtol=1e-3, atol=1e-4)


def test_sampling_begins_at_the_timestep_that_was_trained_on_pure_noise() -> None:
    for steps in (4, 20):
        scheduler = sampling_scheduler(PURE_SCALED)
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps[0] == PURE_SCALED.train_timesteps - 1
    usual = sampling_scheduler(COSINE)
    usual.set_timesteps(20)
    assert usual.timesteps[0] < COSINE.train_timesteps - 1


@pytest.mark.parametrize("diffusion", [LINEAR, SCALED, COSINE], ids=named)
def test_min_snr_weights_are_those_of_diffusers_own_script(diffusion: Diffusion) -> None:
    """As in train_text_to_image.py: min(SNR, gamma) / SNR for epsilon, / (SNR + 1) for velocity."""
    process = ForwardProcess(diffusion.model_copy(update={"min_snr_gamma": 5.0}), CPU)
    ratio = _TRAINING.compute_snr(_DDPM(**scheduler_options(diffusion)), torch.arange(1000))
    least = torch.stack([ratio, 5.0 * torch.ones(1000)], dim=1).min(dim=1)[0]
    seen_from = ratio if diffusion.prediction_type is PredictionType.EPSILON else ratio + 1
    assert process.loss_weights is not None
    torch.testing.assert_close(process.loss_weights, least / seen_from, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("diffusion", [LINEAR, SCALED, COSINE], ids=named)
def test_min_snr_is_the_same_loss_on_the_picture_for_every_prediction_type(diffusion: Diffusion) -> None:
    """Whatever is predicted, an error of the picture counts min(SNR, gamma) times (Hang et al. 2023)."""
    process = ForwardProcess(diffusion.model_copy(update={"min_snr_gamma": 5.0}), CPU)
    latents, noise, timesteps = a_batch()
    noisy, target = process.add_noise(latents, noise, timesteps), process.target(latents, noise, timesteps)
    wrong = target + 0.1
    signal = process.alphas_cumprod.double()[timesteps].view(-1, 1, 1, 1)
    alpha, sigma = signal.sqrt(), (1 - signal).sqrt()
    epsilon = diffusion.prediction_type is PredictionType.EPSILON
    recovered = (noisy - sigma * wrong) / alpha if epsilon else alpha * noisy - sigma * wrong
    ratio = (signal / (1 - signal)).flatten()
    on_picture = sample_losses(recovered.float(), latents).double() * ratio.clamp(max=5.0)
    weighted = process.weighted(sample_losses(wrong, target), timesteps).double()
    torch.testing.assert_close(weighted, on_picture, rtol=2e-2, atol=1e-6)


NAMES = ("schedule", "predictionType", "zeroTerminalSnr", "minSnrGamma")
SETTINGS = [
    dict(zip(NAMES, values, strict=True))
    for values in itertools.product(NoiseSchedule, PredictionType, (False, True), (None, 5))
]


def test_every_timestep_that_sampling_uses_is_trained() -> None:
    """What would give one of them weight 0 is no job."""
    accepted = []
    for setting in SETTINGS:
        with contextlib.suppress(ValidationError):
            accepted.append(Diffusion.model_validate(setting))
    assert {(job.min_snr_gamma, job.zero_terminal_snr) for job in accepted} >= {(None, True), (5, False)}
    for diffusion in accepted:
        scheduler = sampling_scheduler(diffusion)
        scheduler.set_timesteps(20)
        losses = torch.ones(len(scheduler.timesteps))
        assert (ForwardProcess(diffusion, CPU).weighted(losses, scheduler.timesteps) > 0).all(), named(diffusion)


def test_without_min_snr_every_timestep_counts_alike() -> None:
    process = ForwardProcess(COSINE, CPU)
    losses = torch.tensor([1.0, 2.0])
    assert process.loss_weights is None
    assert process.weighted(losses, torch.tensor([0, 999])) is losses


def test_losses_are_means_over_each_sample() -> None:
    losses = sample_losses(torch.tensor([[1.0, 1.0], [0.0, 4.0]]), torch.zeros(2, 2))
    assert losses.tolist() == [1.0, 8.0]
