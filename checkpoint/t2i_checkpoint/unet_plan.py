"""Which blocks a config asks for: type, channels in and out, context and heads of each. Pure.

The arithmetic is that of Diffusers 0.42's `UNet2DConditionModel.__init__`, its quirks included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_checkpoint.unet_options import UnsupportedConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.unet_options import UNetOptions

_MOST_GROUPS, _GROUP = 32, 4


@dataclass(frozen=True)
class BlockPlan:
    """One block of a UNet.

    `inputs` are the channels that enter each residual layer, `width` those that leave; `skip` is the width of the level
    above, `time` that of the embedding. `heads` and `head_width` are both what Diffusers calls `attention_head_dim`:
    which one it is depends on the block's type. `samples` says whether the resolution changes after it.
    """

    kind: str
    inputs: tuple[int, ...]
    width: int
    skip: int
    time: int
    groups: int | None
    context: int
    heads: int
    head_width: int
    depths: tuple[int, ...]
    only_cross_attention: bool
    samples: bool


def down_plans(options: UNetOptions, time: int) -> Iterator[BlockPlan]:
    """Yield the blocks of the way down, outermost first."""
    before = options.channels[0]
    last = len(options.channels) - 1
    for index, (kind, width) in enumerate(zip(options.down_blocks, options.channels, strict=True)):
        layers = options.layers[index]
        yield BlockPlan(
            kind=kind,
            inputs=(before, *[width] * (layers - 1)),
            width=width,
            skip=before,
            time=time,
            groups=options.groups,
            context=options.cross_attention[index],
            heads=options.heads[index],
            head_width=options.heads[index],
            depths=_depths(options.depths[index], layers, "transformer_layers_per_block", kind),
            only_cross_attention=options.only_cross_attention[index],
            samples=index != last,
        )
        before = width


def up_plans(options: UNetOptions, time: int) -> Iterator[BlockPlan]:
    """Yield the blocks of the way up, innermost first."""
    last = len(options.channels) - 1
    below = options.channels[-1]
    for index, kind in enumerate(options.up_blocks):
        mirrored = last - index
        width = options.channels[mirrored]
        skip = options.channels[max(mirrored - 1, 0)]
        layers = options.layers[mirrored] + 1
        yield BlockPlan(
            kind=kind,
            # Each layer also takes the map that the mirrored down block left; the last one that of the block above.
            inputs=tuple(
                (below if layer == 0 else width) + (skip if layer == layers - 1 else width) for layer in range(layers)
            ),
            width=width,
            skip=skip,
            time=time,
            groups=options.groups,
            context=options.cross_attention[mirrored],
            heads=options.heads[mirrored],
            head_width=options.heads[index],  # not mirrored: so Diffusers has it
            depths=_depths(options.up_depths[index], layers, "reverse_transformer_layers_per_block", kind),
            only_cross_attention=options.only_cross_attention[mirrored],
            samples=index != last,
        )
        below = width


def mid_plan(options: UNetOptions, time: int) -> BlockPlan | None:
    """Return the middle block, or None where the config has none."""
    kind, width, depth = options.values["mid_block_type"], options.channels[-1], options.depths[-1]
    if kind is None:
        return None
    simple = kind == "UNetMidBlock2DSimpleCrossAttn"
    return BlockPlan(
        kind=kind,
        inputs=(width,) if kind == "UNetMidBlock2D" else (width, width),
        width=width,
        skip=width,
        time=time,
        groups=min(width // _GROUP, _MOST_GROUPS) if options.groups is None else options.groups,
        context=options.cross_attention[-1],
        heads=options.heads[-1],
        head_width=options.heads[-1],
        depths=depth if isinstance(depth, tuple) else (depth,),
        only_cross_attention=simple and options.mid_only_cross_attention,
        samples=False,
    )


def check_groups(groups: int | None, channels: int) -> None:
    """Refuse a number of groups that group normalization cannot split the channels into."""
    if groups is None:
        raise UnsupportedConfigError("norm_num_groups", None, "only k-diffusion's blocks (KDownBlock2D, ...) need none")
    if groups < 1 or channels % groups:
        raise UnsupportedConfigError("norm_num_groups", groups, f"does not divide a layer's {channels} channels")


def check_heads(heads: int, channels: int) -> None:
    """Refuse more heads, or wider ones, than there are channels."""
    if heads > channels:
        raise UnsupportedConfigError("attention_head_dim", heads, f"more than the block's {channels} channels")


def _depths(depth: int | tuple[int, ...], layers: int, field: str, kind: str) -> tuple[int, ...]:
    depths = depth if isinstance(depth, tuple) else (depth,) * layers
    if len(depths) < layers and kind.startswith("CrossAttn"):
        raise UnsupportedConfigError(field, list(depths), f"the block has {layers} layers")
    return depths
