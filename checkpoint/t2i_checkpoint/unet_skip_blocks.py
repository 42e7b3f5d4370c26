"""The blocks of score-based models (NCSN++) with a picture beside the maps; as (name, shape) in registration order.

Structure after Diffusers 0.42 `SkipDownBlock2D`, `AttnSkipDownBlock2D`, `SkipUpBlock2D`, `AttnSkipUpBlock2D`. Their
groups follow from the widths, not from `norm_num_groups`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.unet_attention import pixel_attention
from t2i_checkpoint.unet_layers import Named, convolution, normalization, resnet, within
from t2i_checkpoint.unet_options import UnsupportedConfigError
from t2i_checkpoint.unet_plan import check_heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.unet_options import UNetOptions
    from t2i_checkpoint.unet_plan import BlockPlan

_PICTURE = 3
_MOST_GROUPS, _GROUP = 32, 4


def skip_down_block(options: UNetOptions, plan: BlockPlan, *, has_attention: bool) -> Iterator[Named]:
    """Yield attentions and residual layers, then what shrinks maps and picture."""
    if has_attention:
        for layer in range(len(plan.inputs)):
            yield from within(f"attentions.{layer}", _attention(plan))
    for layer, channels in enumerate(plan.inputs):
        yield from within(f"resnets.{layer}", _resnet(options, plan, channels, channels // _GROUP))
    if plan.samples:
        yield from within("resnet_down", _resnet(options, plan, plan.width, plan.width // _GROUP, shortcut=True))
        yield from within("skip_conv", convolution(plan.width, _PICTURE, 1))


def skip_up_block(options: UNetOptions, plan: BlockPlan, *, has_attention: bool) -> Iterator[Named]:
    """Yield one attention for all residual layers, then what grows maps and picture."""
    if has_attention:
        yield from within("attentions.0", _attention(plan))
    for layer, channels in enumerate(plan.inputs):
        # Diffusers divides only the map from the other side here: so many groups are there wherever they fit.
        skip = plan.skip if layer == len(plan.inputs) - 1 else plan.width
        groups = channels - skip + skip // _GROUP if has_attention else channels // _GROUP
        yield from within(f"resnets.{layer}", _resnet(options, plan, channels, groups))
    if plan.samples:
        yield from within("resnet_up", _resnet(options, plan, plan.width, plan.width // _GROUP, shortcut=True))
        yield from within("skip_conv", convolution(_PICTURE, plan.width, 3))
        yield from within("skip_norm", normalization(plan.width))


def _resnet(
    options: UNetOptions, plan: BlockPlan, channels: int, groups: int, *, shortcut: bool | None = None
) -> Iterator[Named]:
    _check_width(channels, groups)
    _check_width(plan.width, plan.width // _GROUP)
    return resnet(channels, plan.width, plan.time, scale_and_shift=options.scale_and_shift, shortcut=shortcut)


def _attention(plan: BlockPlan) -> Iterator[Named]:
    _check_width(plan.width, _MOST_GROUPS)
    check_heads(plan.head_width, plan.width)
    return pixel_attention(plan.width, plan.head_width)


def _check_width(channels: int, groups: int) -> None:
    groups = min(groups, _MOST_GROUPS)
    if groups < 1 or channels % groups:
        why = f"a layer of {channels} channels cannot be normalized in {groups} groups, as Skip blocks do"
        raise UnsupportedConfigError("block_out_channels", channels, why)
