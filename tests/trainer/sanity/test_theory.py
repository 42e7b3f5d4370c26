"""What the loss must be is derived from the schedule; here it is held against simulation and against random UNets."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from t2i_api.spec_training import Diffusion
from t2i_trainer.diffusion import ForwardProcess, sample_losses
from t2i_trainer.sanity.schedule import alphas_cumprod
from t2i_trainer.sanity.theory import (
    SILU_POWER,
    SILU_SIZE,
    DataScale,
    epsilon_is_usable,
    initial_loss_bounds,
    learning_deadline,
    levels,
    power_tolerance,
    window,
)

CPU = torch.device("cpu")
LINEAR = {"schedule": "Linear", "predictionType": "Epsilon"}
SCALED = {"schedule": "ScaledLinear", "predictionType": "Epsilon"}
COSINE = {"schedule": "Cosine", "predictionType": "VPrediction"}
ZERO = {"schedule": "ScaledLinear", "predictionType": "VPrediction", "zeroTerminalSnr": True}


def test_the_numbers_of_silu_are_those_of_a_normal_input() -> None:
    z = torch.randn(4_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    silu = torch.nn.functional.silu(z)
    assert float(silu.square().mean()) == pytest.approx(SILU_POWER, rel=5e-3)
    assert float(silu.abs().mean()) == pytest.approx(SILU_SIZE, rel=5e-3)


@pytest.mark.parametrize("wire", [LINEAR, COSINE])
def test_levels_are_what_the_best_constant_answers_leave(wire: dict[str, Any]) -> None:
    """Simulated: data of mean 0.4 and standard deviation 0.7, at five timesteps."""
    diffusion = Diffusion.model_validate(wire)
    forward = ForwardProcess(diffusion, CPU)
    generator = torch.Generator().manual_seed(0)
    latents = 0.4 + 0.7 * torch.randn(20_000, 1, 2, 2, generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    due = levels(forward.alphas_cumprod.double().numpy(), diffusion.prediction_type, DataScale(0.65, 0.49))
    for time in (0, 250, 500, 750, 999):
        target = forward.target(latents, noise, torch.full((len(latents),), time))
        assert float(target.square().mean()) == pytest.approx(due.power[time], rel=0.02)
        assert float(target.var()) == pytest.approx(due.trivial[time], rel=0.02)


@pytest.mark.parametrize("channels", [3, 4, 12])
def test_the_first_loss_of_random_unets_lies_within_its_bounds(channels: int) -> None:
    unet_class: Any = UNet2DConditionModel
    diffusion = Diffusion.model_validate(COSINE)
    forward = ForwardProcess(diffusion, CPU)
    for seed in range(3):
        torch.manual_seed(seed)
        unet = unet_class(
            sample_size=8,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=8,
            attention_head_dim=4,
            norm_num_groups=4,
        )
        latents, noise = 0.8 * torch.randn(2, 16, channels, 8, 8)
        timesteps = torch.arange(16) * 62
        target = forward.target(latents, noise, timesteps)
        with torch.no_grad():
            noisy = forward.add_noise(latents, noise, timesteps)
            answer = unet(noisy, timesteps, encoder_hidden_states=torch.randn(16, 4, 8)).sample
        loss = float(sample_losses(answer, target).mean())
        low, high = initial_loss_bounds(float(target.square().mean()), channels)
        assert low < loss < high


@pytest.mark.parametrize(
    ("wire", "usable"), [(LINEAR, True), (SCALED, True), (COSINE, False)], ids=["linear", "scaled linear", "cosine"]
)
def test_epsilon_is_usable_where_the_schedule_keeps_some_signal(wire: dict[str, Any], usable: bool) -> None:  # noqa: FBT001
    assert epsilon_is_usable(float(alphas_cumprod(Diffusion.model_validate(wire))[-1])) is usable


@pytest.mark.parametrize(
    ("rate", "warmup", "features", "step"),
    [
        (1e-4, 0, 9 * 320, 87),  # Stable Diffusion's UNet
        (1e-4, 1000, 9 * 320, 417),
        (3e-3, 20, 9 * 24, 50),  # the tiny one of the planted faults
        (1e-9, 0, 9 * 24, None),
    ],
)
def test_the_deadline_follows_learning_rate_warm_up_and_width(
    rate: float, warmup: int, features: int, step: int | None
) -> None:
    rates = [rate * min(1.0, number / max(warmup, 1)) for number in range(1, 5001)]
    found = learning_deadline(rates, features, 1.0)
    assert found == step if step is None else found == pytest.approx(step, rel=0.02)


def test_windows_hold_512_samples_and_tolerances_shrink_with_numbers() -> None:
    assert (window(4), window(64), window(4096)) == (128, 20, 20)
    assert power_tolerance(10**6) < 0.02 < power_tolerance(10**4)
    assert math.isfinite(power_tolerance(0))
