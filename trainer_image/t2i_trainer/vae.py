"""The frozen autoencoder of a job: pictures to moments of latents and back.

`AutoencoderKL` and `AutoencoderTiny` from safetensors; the scale that makes latents about as large as noise is part of
what a checkpoint means, so it is the job's, and the autoencoder's own config must not contradict it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors import SafetensorError

from t2i_api.progress import ExitCode
from t2i_trainer.errors import words_of
from t2i_trainer.failures import TrainerError
from t2i_trainer.sources import fetch_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from t2i_api.job import JobSpec

# Diffusers carries no types of its own.
_CLASSES: Mapping[str, Any] = {
    "AutoencoderKL": cast("Any", AutoencoderKL),
    "AutoencoderTiny": cast("Any", AutoencoderTiny),
}
# The bounds that Diffusers clamps log-variances to; the lower one is what an autoencoder without a variance gets.
LOG_VARIANCE_BOUNDS = (-30.0, 20.0)


class Vae:
    """An autoencoder from a folder; float32 throughout.

    `channels` and `downscale` say that a picture [3, R, R] has latents [channels, R / downscale, R / downscale];
    latents are (z - `shift`) x `scale`.
    """

    def __init__(self, folder: Path, scaling_factor: float, device: torch.device) -> None:
        self.model = _load(folder).to(device).eval().requires_grad_(requires_grad=False)
        config = self.model.config
        self.channels: int = config.latent_channels
        self.downscale: int = 2 ** (len(_block_channels(config)) - 1)
        self.scale = scaling_factor
        self.shift = float(getattr(config, "shift_factor", None) or 0.0)
        self._has_variance = isinstance(self.model, AutoencoderKL)
        _check_scale(scaling_factor, config)

    def latent_shape(self, resolution: int) -> tuple[int, int, int]:
        """Return the latents' shape of a square picture; raises TrainerError where it has none."""
        side, rest = divmod(resolution, self.downscale)
        if rest:
            raise _bad(
                f"data.resolution {resolution} is no multiple of {self.downscale}, which model.vae divides it by"
            )
        return self.channels, side, side

    @torch.no_grad()
    def encode_moments(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return mean and log-variance of z, [B, 2 C, h, w], for pixels in [-1, 1] [B, 3, R, R]."""
        encoded = self.model.encode(pixels)
        if self._has_variance:
            moments: torch.Tensor = encoded.latent_dist.parameters
            return moments.float()
        mean: torch.Tensor = encoded.latents.float()
        return torch.cat([mean, torch.full_like(mean, LOG_VARIANCE_BOUNDS[0])], dim=1)

    def latents(self, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return scaled latents drawn from moments with standard normal `noise` [B, C, h, w]."""
        return sample_latents(moments, noise, scale=self.scale, shift=self.shift)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels, about [-1, 1], [B, 3, R, R], of scaled latents [B, C, h, w]."""
        pixels: torch.Tensor = self.model.decode(latents.float() / self.scale + self.shift).sample
        return pixels


def sample_latents(
    moments: torch.Tensor, noise: torch.Tensor | None, *, scale: float, shift: float = 0.0
) -> torch.Tensor:
    """Return ((mean + std x noise) - shift) x scale of moments [B, 2 C, h, w]; without noise the mean alone."""
    mean, log_variance = moments.float().chunk(2, dim=1)
    if noise is not None:
        mean = mean + (0.5 * log_variance.clamp(*LOG_VARIANCE_BOUNDS)).exp() * noise
    return (mean - shift) * scale


def fetch_vae(spec: JobSpec, folder: Path) -> None:
    """Copy the job's autoencoder into `folder`; raises TrainerError, StoreError."""
    if spec.model.vae is None:
        raise ValueError("the job has no model.vae")
    fetch_model(spec, spec.model.vae.uri, folder, setting="model.vae.uri", parts=("vae",))


def load_vae(spec: JobSpec, folder: Path, device: torch.device) -> Vae:
    """Load the job's autoencoder and check that the UNet fits its latents; raises TrainerError."""
    if spec.model.vae is None:
        raise ValueError("the job has no model.vae")
    vae = Vae(folder, spec.model.vae.scaling_factor, device)
    _, side, _ = vae.latent_shape(spec.data.resolution)
    config = spec.model.unet.resolved
    for field, got in (("in_channels", config.in_channels), ("out_channels", config.out_channels)):
        if got != vae.channels:
            raise _bad(
                f"model.vae has latents of {vae.channels} channels, model.unet has {field} {got}: choose a UNet and an "
                "autoencoder that fit"
            )
    levels = 2 ** (len(config.block_out_channels) - 1)
    if side % levels:
        raise _bad(
            f"latents of data.resolution {spec.data.resolution} are {side} wide, which model.unet halves "
            f"{len(config.block_out_channels) - 1} times: use a multiple of {levels * vae.downscale}"
        )
    return vae


def _load(folder: Path) -> Any:
    try:
        config = json.loads((folder / "config.json").read_bytes())
        name = str(config.get("_class_name")) if isinstance(config, dict) else "file without a class"
        if name not in _CLASSES:
            raise _bad(f"model.vae.uri holds a {name}: this trainer takes {' and '.join(_CLASSES)}")
        model, loaded = _CLASSES[name].from_pretrained(
            folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _bad(
            f"model.vae.uri holds no usable autoencoder (config.json, safetensors): {words_of(error)}"
        ) from error
    wrong = [name for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in loaded[kind]]
    if wrong:
        raise _bad(f"model.vae.uri: weights and config.json do not fit: {len(wrong)} parameters, as {wrong[0]}")
    return model.float()


def _block_channels(config: Any) -> tuple[int, ...]:
    """Return the channels of each level; the tiny autoencoder has a level for every block, as long as it upsamples."""
    return tuple(getattr(config, "block_out_channels", None) or config.encoder_block_out_channels)


def _check_scale(wanted: float, config: Any) -> None:
    """Refuse a scale that contradicts the autoencoder's own: latents would be many times too small or too large."""
    own = getattr(config, "scaling_factor", None)
    if own is not None and not math.isclose(own, wanted, rel_tol=1e-4):
        raise _bad(
            f"model.vae.scalingFactor is {wanted}, the autoencoder's own config.json says scaling_factor {own}: write "
            f"scalingFactor: {own}"
        )


def _bad(message: str) -> TrainerError:
    return TrainerError(ExitCode.BAD_CONFIGURATION, message)
