"""The config of a small UNet that demos, matrices and tests share: two plain blocks and two that look at the text."""

from __future__ import annotations

from typing import Any


def small_unet(channels: tuple[int, int], *, text_width: int, **changes: Any) -> dict[str, Any]:
    """Return a Diffusers config for 8 x 8 pixels in RGB with as many channels a level; `changes` replace fields."""
    return {
        "sample_size": 8,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": list(channels),
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "cross_attention_dim": text_width,
        "attention_head_dim": 2,
        "norm_num_groups": 2,
        **changes,
    }
