"""The UNet: built from the job's config with the job's seed, and checked against the names and shapes it promises."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from diffusers import UNet2DConditionModel

from t2i_api.progress import ExitCode
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.unet import UnsupportedConfigError, unet_architecture
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_api.job import JobSpec

CLASS_NAME: Final = "UNet2DConditionModel"
# Diffusers carries no types of its own.
_UNET: Callable[..., torch.nn.Module] = cast("Any", UNet2DConditionModel)


def build_unet(spec: JobSpec, device: torch.device) -> torch.nn.Module:
    """Return the freshly initialised UNet, the same on every rank; raises TrainerError(BAD_CONFIGURATION)."""
    config = spec.model.unet.resolved
    torch.manual_seed(spec.training.seed)
    try:
        promised = unet_architecture(config)
        unet = _UNET(**config.to_diffusers())
    except (UnsupportedConfigError, ValueError, TypeError) as error:
        raise TrainerError(ExitCode.BAD_CONFIGURATION, f"model.unet: {error}") from error
    difference = architecture_of(unet).diff(promised)
    if not difference.is_empty:
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"model.unet: this Diffusers builds other parameters than the operator judges by: {difference}",
        )
    return unet.to(device).to(memory_format=torch.channels_last)


def write_config(unet: torch.nn.Module, folder: Path) -> None:
    """Write the UNet's `config.json` as Diffusers reads it."""
    cast("Any", unet).save_config(folder)
    path = folder / "config.json"
    # FSDP2 gives a sharded module a class of its own, whose name means nothing to Diffusers.
    path.write_text(json.dumps({**json.loads(path.read_text()), "_class_name": CLASS_NAME}, indent=2) + "\n")


def architecture_of(module: torch.nn.Module) -> Architecture:
    """Return names and shapes of a module's state."""
    return Architecture.from_shapes({name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})


def check_text_width(spec: JobSpec, width: int) -> None:
    """Raise TrainerError where the text encoder's width is not what the UNet's cross-attention takes."""
    wanted = spec.model.unet.resolved.cross_attention_dim
    widths = wanted if isinstance(wanted, list) else [wanted]
    if any(each != width for each in widths):
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"model.textEncoder gives vectors of {width} numbers, model.unet takes cross_attention_dim {wanted}: "
            "choose a text encoder and a UNet that fit",
        )
