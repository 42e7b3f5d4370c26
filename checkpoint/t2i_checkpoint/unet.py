"""Names and shapes of Diffusers' `UNet2DConditionModel`, derived from its config without torch.

Equal to what Diffusers 0.42 builds on the meta device, name for name, in order, and shape for shape (tested for the
published models and for random configs of every block type). A config that is not covered raises
`UnsupportedConfigError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.unet_blocks import down_block, mid_block, up_block
from t2i_checkpoint.unet_conditioning import conditioning, positions, time_widths
from t2i_checkpoint.unet_layers import Named, convolution, normalization, within
from t2i_checkpoint.unet_options import UNetOptions, UnsupportedConfigError
from t2i_checkpoint.unet_plan import check_groups, down_plans, mid_plan, up_plans

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from t2i_api.unet_config import UNetConfig

__all__ = ["UnsupportedConfigError", "unet_architecture", "unet_architecture_from_mapping"]


def unet_architecture(config: UNetConfig) -> Architecture:
    """Return the parameters that `UNet2DConditionModel(**config)` has; raises UnsupportedConfigError."""
    return unet_architecture_from_mapping(config.model_dump())


def unet_architecture_from_mapping(config: Mapping[str, Any]) -> Architecture:
    """Do the same for a plain mapping, such as the content of a Diffusers `config.json`."""
    options = UNetOptions.from_config(config)
    return Architecture((name, Parameter(shape)) for name, shape in _model(options))


def _model(options: UNetOptions) -> Iterator[Named]:
    first = options.channels[0]
    yield from within("conv_in", convolution(first, options.size("in_channels"), options.size("conv_in_kernel")))
    yield from conditioning(options)
    _, time = time_widths(options)
    time *= 2 if options.values["class_embeddings_concat"] else 1
    # Diffusers registers the empty lists of both sides before it builds the middle.
    for index, plan in enumerate(down_plans(options, time)):
        yield from within(f"down_blocks.{index}", down_block(options, plan))
    for index, plan in enumerate(up_plans(options, time)):
        yield from within(f"up_blocks.{index}", up_block(options, plan))
    middle = mid_plan(options, time)
    if middle is not None:
        yield from within("mid_block", mid_block(options, middle))
    if options.groups is not None:
        check_groups(options.groups, first)
        yield from within("conv_norm_out", normalization(first))
    yield from within("conv_out", convolution(options.size("out_channels"), first, options.size("conv_out_kernel")))
    yield from positions(options)
