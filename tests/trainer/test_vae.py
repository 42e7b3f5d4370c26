"""Autoencoders of Diffusers give moments and pictures as Diffusers itself does, and a wrong one is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from safetensors.torch import load_file, save_file

from t2i_api.job import JobSpec
from t2i_api.progress import ExitCode
from t2i_trainer.failures import TrainerError
from t2i_trainer.vae import Vae, fetch_vae, load_vae, sample_latents

CPU = torch.device("cpu")
SCALES = {"AutoencoderKL": 0.5, "AutoencoderTiny": 1.0}
MakeVae = Callable[[Path, str], None]
# Diffusers carries no types of its own.
_KL, _TINY = cast("Any", AutoencoderKL), cast("Any", AutoencoderTiny)
_GAUSSIAN = cast("Any", DiagonalGaussianDistribution)


@pytest.fixture(scope="module")
def folders(make_vae: MakeVae, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for kind in SCALES:
        made[kind] = tmp_path_factory.mktemp(kind)
        make_vae(made[kind], kind)
    return made


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("kind", SCALES)
def test_a_picture_becomes_moments_of_the_promised_shape(kind: str, folders: dict[str, Path]) -> None:
    vae = Vae(folders[kind], SCALES[kind], CPU)
    assert vae.latent_shape(16) == (4, 8, 8)
    assert vae.encode_moments(pictures()).shape == (2, 8, 8, 8)
    assert vae.decode(torch.zeros(2, 4, 8, 8)).shape == (2, 3, 16, 16)


def test_latents_are_drawn_as_diffusers_draws_them(folders: dict[str, Path]) -> None:
    vae = Vae(folders["AutoencoderKL"], 0.5, CPU)
    model = _KL.from_pretrained(folders["AutoencoderKL"])
    moments = vae.encode_moments(pictures())
    with torch.no_grad():
        theirs = model.encode(pictures()).latent_dist
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    sampled = theirs.mean + theirs.std * noise
    torch.testing.assert_close(vae.latents(moments, noise), sampled * 0.5)
    torch.testing.assert_close(sample_latents(moments, None, scale=0.5), theirs.mode() * 0.5)
    with torch.no_grad():
        drawn = model.decode(sampled).sample
    torch.testing.assert_close(vae.decode(sampled * 0.5), drawn)


def test_log_variances_are_bounded_as_diffusers_bounds_them() -> None:
    moments = torch.cat([torch.zeros(1, 4, 2, 2), torch.full((1, 4, 2, 2), 50.0)], dim=1)
    noise = torch.ones(1, 4, 2, 2)
    torch.testing.assert_close(sample_latents(moments, noise, scale=1.0), _GAUSSIAN(moments).std)


def test_the_tiny_autoencoder_has_no_variance(folders: dict[str, Path]) -> None:
    vae = Vae(folders["AutoencoderTiny"], 1.0, CPU)
    with torch.no_grad():
        theirs = _TINY.from_pretrained(folders["AutoencoderTiny"]).encode(pictures()).latents
    torch.testing.assert_close(vae.latents(vae.encode_moments(pictures()), torch.ones(2, 4, 8, 8)), theirs)


def test_a_shift_is_taken_off_before_scaling_and_put_back(folders: dict[str, Path], tmp_path: Path) -> None:
    config = {**json.loads((folders["AutoencoderKL"] / "config.json").read_text()), "shift_factor": 0.25}
    shifted, plain = _with_config(folders["AutoencoderKL"], tmp_path, config), Vae(folders["AutoencoderKL"], 0.5, CPU)
    moments, noise = plain.encode_moments(pictures()), torch.zeros(2, 4, 8, 8)
    torch.testing.assert_close(shifted.latents(moments, noise), plain.latents(moments, noise) - 0.125)
    latents = shifted.latents(moments, noise)
    torch.testing.assert_close(shifted.decode(latents), plain.decode(latents + 0.125))


def _with_config(source: Path, folder: Path, config: dict[str, Any]) -> Vae:
    (folder / "config.json").write_text(json.dumps(config))
    weights = "diffusion_pytorch_model.safetensors"
    (folder / weights).write_bytes((source / weights).read_bytes())
    return Vae(folder, 0.5, CPU)


# What is wrong with config.json, and the words of the refusal.
WRONG_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "another scale": (
        {"scaling_factor": 0.18215},
        r"config\.json says scaling_factor 0\.18215: write scalingFactor: 0\.18215",
    ),
    "another class": (
        {"_class_name": "VQModel"},
        "holds a VQModel: this trainer takes AutoencoderKL and AutoencoderTiny",
    ),
    "other layers": ({"layers_per_block": 2}, "weights and config.json do not fit"),
    "other widths": ({"block_out_channels": [8, 16]}, "model.vae.uri"),
}


@pytest.mark.parametrize("wrong", WRONG_CONFIGS)
def test_an_autoencoder_that_is_not_what_it_says_is_refused(
    wrong: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    changes, words = WRONG_CONFIGS[wrong]
    config = json.loads((folders["AutoencoderKL"] / "config.json").read_text())
    with pytest.raises(TrainerError, match=words) as caught:
        _with_config(folders["AutoencoderKL"], tmp_path, {**config, **changes})
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


def test_weights_that_the_file_lacks_are_not_made_up(folders: dict[str, Path], tmp_path: Path) -> None:
    source = folders["AutoencoderKL"]
    tensors = load_file(source / "diffusion_pytorch_model.safetensors")
    del tensors["decoder.conv_out.weight"]
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    with pytest.raises(TrainerError, match=r"1 parameters, as decoder\.conv_out\.weight"):
        Vae(tmp_path, 0.5, CPU)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_weights_that_were_cut_off_are_refused(share: float, folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["AutoencoderTiny"], tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(share * weights.stat().st_size)])
    with pytest.raises(TrainerError, match=r"no usable autoencoder") as caught:
        Vae(tmp_path, 1.0, CPU)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


def test_pickled_weights_are_not_loaded(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folders["AutoencoderKL"] / "config.json").read_bytes())
    torch.save({}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(TrainerError, match=r"no usable autoencoder"):
        Vae(tmp_path, 0.5, CPU)


def latent_job(job_spec: JobSpec, uri: str, **unet: Any) -> JobSpec:
    document = job_spec.to_wire()
    document["model"]["pixelUnshuffleFactor"] = 1
    document["model"]["vae"] = {"uri": uri, "scalingFactor": 0.5}
    document["model"]["unet"]["config"].update({"in_channels": 4, "out_channels": 4, **unet})
    return JobSpec.model_validate(document)


def test_a_jobs_autoencoder_is_fetched_and_fits_its_unet(
    job_spec: JobSpec, folders: dict[str, Path], tmp_path: Path
) -> None:
    spec = latent_job(job_spec, f"file://{folders['AutoencoderKL']}")
    fetch_vae(spec, tmp_path / "vae")
    assert load_vae(spec, tmp_path / "vae", CPU).channels == 4


def test_a_unet_of_other_channels_or_too_many_levels_is_refused(job_spec: JobSpec, folders: dict[str, Path]) -> None:
    folder = folders["AutoencoderKL"]
    with pytest.raises(TrainerError, match=r"latents of 4 channels, model\.unet has in_channels 8"):
        load_vae(latent_job(job_spec, "s3://bucket/vae", in_channels=8), folder, CPU)
    odd = latent_job(job_spec, "s3://bucket/vae")
    odd = odd.model_copy(update={"data": odd.data.model_copy(update={"resolution": 18})})
    with pytest.raises(TrainerError, match=r"use a multiple of 4"):
        load_vae(odd, folder, CPU)
