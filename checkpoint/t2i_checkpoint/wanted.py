"""From a job's spec to what its checkpoints must be: in one place, so that no two programs can disagree. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from t2i_api.spec_training import NoiseSchedule, PredictionType
from t2i_checkpoint.unet import unet_architecture
from t2i_checkpoint.verdict import Meaning, RunIdentity, Wanted

if TYPE_CHECKING:
    from t2i_api.job import JobSpec
    from t2i_api.spec_training import Diffusion

# Diffusers' names, which people know from `scheduler_config.json`.
_PREDICTION_TYPES = {PredictionType.EPSILON: "epsilon", PredictionType.V_PREDICTION: "v_prediction"}
_BETA_SCHEDULES = {
    NoiseSchedule.LINEAR: "linear",
    NoiseSchedule.SCALED_LINEAR: "scaled_linear",
    NoiseSchedule.COSINE: "squaredcos_cap_v2",
}
_PIXEL_SPACE = 1.0
_NO_MEANING = {"sample_size", "dropout"}


def wanted_from(spec: JobSpec) -> Wanted:
    """Return names, shapes, meaning and run identity; raises UnsupportedConfigError if no UNet can be derived."""
    return Wanted(
        architecture=unet_architecture(spec.model.unet.resolved),
        meaning=meaning_from(spec),
        run=RunIdentity(spec.training.seed, spec.training.global_batch_size),
        model_config_sha256=model_config_sha256(spec),
    )


def model_config_sha256(spec: JobSpec) -> str:
    """Return the hash of the UNet's config: the same for a preset and its config written out.

    Names and shapes do not show heads, groups or activation, so this tells one function from another. Defaults are left
    out: a field that a later version adds changes no hash. So are fields that do not change what the weights compute.
    """
    config = spec.model.unet.resolved.model_dump(mode="json", exclude_defaults=True, exclude=_NO_MEANING)
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def meaning_from(spec: JobSpec, null_embedding_sha256: str | None = None) -> Meaning:
    """Return what the job's weights mean; only who has the text encoder knows the null embedding's hash."""
    return Meaning(
        prediction_type=_PREDICTION_TYPES[spec.diffusion.prediction_type],
        noise_schedule=noise_schedule_text(spec.diffusion),
        latent_scale=_PIXEL_SPACE if spec.model.vae is None else spec.model.vae.scaling_factor,
        null_embedding_sha256=null_embedding_sha256,
    )


def noise_schedule_text(diffusion: Diffusion) -> str:
    """Return the canonical text of a schedule: `squaredcos_cap_v2, zero terminal SNR, 1000 timesteps`."""
    rescaled = ", zero terminal SNR" if diffusion.zero_terminal_snr else ""
    return f"{_BETA_SCHEDULES[diffusion.schedule]}{rescaled}, {diffusion.train_timesteps} timesteps"
