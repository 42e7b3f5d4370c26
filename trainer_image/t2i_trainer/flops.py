"""What a training step costs in arithmetic, and which share of the device's peak that is (MFU, Chowdhery et al. 2022).

Counted once, on the meta device: shapes without numbers. Only products of matrices and convolutions count, as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from t2i_api.unet_config import UNetConfig

# Diffusers carries no types of its own.
_UNET: Any = cast("Any", UNet2DConditionModel)

# Dense bfloat16 peaks, FLOP/s, from the makers' data sheets. The first name that is part of the device's counts.
_PEAKS = (
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("H800", 989e12),
    ("H20", 148e12),
    ("B200", 2250e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("A40", 149.7e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L4", 121e12),
    ("A10G", 70e12),
    ("A10", 125e12),
    ("RTX 4090", 165.2e12),
    ("RTX 3090", 71e12),
)


def peak_flops(device: torch.device) -> float | None:
    """Return the dense bfloat16 peak of a GPU, FLOP/s; None for a CPU and for what is not in the list."""
    return peak_of_name(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def peak_of_name(name: str) -> float | None:
    """Return the peak of a GPU by its name: `NVIDIA H100 80GB HBM3`."""
    return next((peak for part, peak in _PEAKS if part in name), None)


def training_flops_per_image(config: UNetConfig, *, side: int, tokens: int) -> int:
    """Return the floating-point operations of forward and backward pass for one latent of `side` x `side`."""
    width = config.cross_attention_dim
    with torch.device("meta"):
        unet = _UNET(**config.to_diffusers())
        latents = torch.empty(1, config.in_channels, side, side)
        texts = torch.empty(1, tokens, width if isinstance(width, int) else width[0])
        with FlopCounterMode(display=False) as counter:
            unet(latents, torch.zeros(1), encoder_hidden_states=texts, return_dict=False)[0].sum().backward()
    return int(counter.get_total_flops())
