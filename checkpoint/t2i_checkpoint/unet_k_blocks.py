"""The blocks of k-diffusion, which Diffusers' latent upscaler is made of; as (name, shape) in registration order.

Structure after Diffusers 0.42 `KDownBlock2D`, `KCrossAttnDownBlock2D`, `KUpBlock2D`, `KCrossAttnUpBlock2D`. Their
changes of resolution are fixed filters: nothing is learned there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.unet_attention import time_normalized_attention
from t2i_checkpoint.unet_layers import Named, time_normalized_resnet, within
from t2i_checkpoint.unet_plan import check_heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.unet_plan import BlockPlan


def k_down_block(plan: BlockPlan, *, has_attention: bool) -> Iterator[Named]:
    """Yield residual layers, then attentions; the innermost block attends to itself too."""
    for layer, channels in enumerate(plan.inputs):
        yield from within(f"resnets.{layer}", time_normalized_resnet(channels, plan.width, plan.width, plan.time))
    if has_attention:
        for layer in range(len(plan.inputs)):
            yield from within(f"attentions.{layer}", _attention(plan, plan.width, self_attention=not plan.samples))


def k_up_block(plan: BlockPlan, *, has_attention: bool) -> Iterator[Named]:
    """Yield one layer less than other up blocks have; the last one narrows to the level above."""
    layers = len(plan.inputs) - 1
    # Diffusers takes a block for the first by its widths alone; the first has no map from the other side.
    is_first = has_attention and plan.skip == plan.width == plan.time
    entering = plan.width if is_first else 2 * plan.width
    for layer in range(layers):
        channels = entering if layer == 0 else plan.width
        leaving = plan.skip if layer == layers - 1 else plan.width
        # Without attention the whole last layer is narrow, with it only its second convolution.
        inside = plan.width if has_attention else leaving
        yield from within(f"resnets.{layer}", time_normalized_resnet(channels, inside, leaving, plan.time))
    if has_attention:
        for layer in range(layers):
            width = plan.skip if layer == layers - 1 else plan.width
            yield from within(f"attentions.{layer}", _attention(plan, width, self_attention=is_first))


def _attention(plan: BlockPlan, width: int, *, self_attention: bool) -> Iterator[Named]:
    check_heads(plan.head_width, width)
    return time_normalized_attention(width, plan.head_width, plan.context, plan.time, self_attention=self_attention)
