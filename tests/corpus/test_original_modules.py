"""The original code's module trees are right: Diffusers' own converter makes of their names exactly its models."""

from typing import Any, cast

import pytest
import torch
from diffusers import AutoencoderKL as DiffusersAutoencoder
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from t2i_dev.corpus import ldm
from t2i_dev.corpus.jobs import UNETS, Task
from t2i_dev.corpus.ldm_companions import AutoencoderKL, below
from t2i_dev.corpus.true_shapes import diffusers_unet

CONFIGS = {
    Task.TINY: ldm.TINY,
    Task.SD1: ldm.SD1,
    Task.SD1_INPAINTING: ldm.SD1_INPAINTING,
    Task.SD2: ldm.SD2,
    Task.SDXL: ldm.SDXL,
}


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize(("task", "config"), CONFIGS.items(), ids=CONFIGS)
def test_the_unet_converts_to_diffusers_own(task: Task, config: ldm.LdmConfig) -> None:
    model = diffusers_unet(UNETS[task])
    with torch.device("meta"):
        original = below("model.diffusion_model.", ldm.UNetModel(config))
    converted = cast("Any", convert_ldm_unet_checkpoint)(original, cast("Any", model).config)
    assert shapes(converted) == shapes(model.state_dict())


def test_the_autoencoder_converts_to_diffusers_own() -> None:
    levels = 4
    options = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": 2,
    }
    with torch.device("meta"):
        model = cast("Any", DiffusersAutoencoder)(**options)
        original = below("first_stage_model.", AutoencoderKL())
    converted = cast("Any", convert_ldm_vae_checkpoint)(original, model.config)
    assert shapes(converted) == shapes(model.state_dict())
