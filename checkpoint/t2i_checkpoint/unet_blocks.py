"""Every block type that Diffusers 0.42 gives `UNet2DConditionModel`, as (name, shape) in registration order.

Structure after `models/unets/unet_2d_blocks.py`. Autoencoder blocks (DownEncoderBlock2D, ...) are not among them: a
conditional UNet can name them but not run with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.unet_attention import added_attention, dual_transformer, pixel_attention, spatial_transformer
from t2i_checkpoint.unet_k_blocks import k_down_block, k_up_block
from t2i_checkpoint.unet_layers import Named, convolution, resnet, within
from t2i_checkpoint.unet_plan import check_groups, check_heads
from t2i_checkpoint.unet_skip_blocks import skip_down_block, skip_up_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.unet_options import UNetOptions
    from t2i_checkpoint.unet_plan import BlockPlan


def down_block(options: UNetOptions, plan: BlockPlan) -> Iterator[Named]:
    """Yield a block of the way down."""
    kind = plan.kind.removesuffix("DownBlock2D")
    if kind in {"K", "KCrossAttn"}:
        return k_down_block(plan, has_attention=kind == "KCrossAttn")
    if kind in {"Skip", "AttnSkip"}:
        return skip_down_block(options, plan, has_attention=kind == "AttnSkip")
    return _block(options, plan, "downsamplers")


def up_block(options: UNetOptions, plan: BlockPlan) -> Iterator[Named]:
    """Yield a block of the way up."""
    kind = plan.kind.removesuffix("UpBlock2D")
    if kind in {"K", "KCrossAttn"}:
        return k_up_block(plan, has_attention=kind == "KCrossAttn")
    if kind in {"Skip", "AttnSkip"}:
        return skip_up_block(options, plan, has_attention=kind == "AttnSkip")
    return _block(options, plan, "upsamplers")


def mid_block(options: UNetOptions, plan: BlockPlan) -> Iterator[Named]:
    """Yield the middle, which has one attention less than residual layers."""
    return _block(options, plan, None)


def _block(options: UNetOptions, plan: BlockPlan, sampler: str | None) -> Iterator[Named]:
    attentions = len(plan.inputs) - (sampler is None) if "Attn" in plan.kind else 0
    for layer in range(attentions):
        yield from within(f"attentions.{layer}", _attention(options, plan, layer))
    for layer, channels in enumerate(plan.inputs):
        yield from within(f"resnets.{layer}", _resnet(options, plan, channels))
    if not plan.samples:
        return
    # Blocks whose resolution changes inside a residual layer have no convolution of their own for it.
    if "Resnet" in plan.kind or "SimpleCrossAttn" in plan.kind:
        yield from within(f"{sampler}.0", _resnet(options, plan, plan.width))
    else:
        yield from within(f"{sampler}.0.conv", convolution(plan.width, plan.width, 3))


def _resnet(options: UNetOptions, plan: BlockPlan, channels: int) -> Iterator[Named]:
    check_groups(plan.groups, channels)
    check_groups(plan.groups, plan.width)
    return resnet(channels, plan.width, plan.time, scale_and_shift=options.scale_and_shift)


def _attention(options: UNetOptions, plan: BlockPlan, layer: int) -> Iterator[Named]:
    check_groups(plan.groups, plan.width)
    if "SimpleCrossAttn" in plan.kind:
        check_heads(plan.head_width, plan.width)
        return added_attention(
            plan.width,
            plan.head_width,
            plan.context,
            only_context=plan.only_cross_attention,
            context_norm=options.context_norm(plan.width, plan.context),
        )
    if "CrossAttn" in plan.kind:
        check_heads(plan.heads, plan.width)
        if options.values["dual_cross_attention"]:
            return dual_transformer(plan.width, heads=plan.heads, context=plan.context)
        return spatial_transformer(
            plan.width,
            heads=plan.heads,
            depth=plan.depths[layer],
            context=plan.context,
            linear_projection=options.values["use_linear_projection"],
            only_cross_attention=plan.only_cross_attention,
            gated=options.values["attention_type"] != "default",
        )
    check_heads(plan.head_width, plan.width)
    return pixel_attention(plan.width, plan.head_width)
