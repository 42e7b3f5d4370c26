"""Names and shapes of real modules, built on the meta device: gigabytes of model, no memory."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from t2i_checkpoint.architecture import Architecture


def diffusers_unet(config: Mapping[str, Any]) -> nn.Module:
    """Return the real UNet2DConditionModel without memory for its parameters."""
    with torch.device("meta"):
        model: nn.Module = cast("Any", UNet2DConditionModel)(**config)
    return model


def shapes(state: Mapping[str, torch.Tensor]) -> Architecture:
    """Return names and shapes of a state dict."""
    return Architecture.from_shapes({name: tuple(each.shape) for name, each in state.items()})
