"""Names and shapes of Diffusers' `UNet2DConditionModel`, derived from its config without torch.

Equal to what Diffusers 0.42 builds on the meta device, name for name, in order, and shape for shape (tested for the
published models and for random configs). A config that is not covered raises `UnsupportedConfigError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.unet_layers import (
    Named,
    convolution,
    linear,
    normalization,
    resnet,
    spatial_transformer,
    text_time_embedding,
    timestep_embedding,
    within,
)
from t2i_checkpoint.unet_options import UNetOptions, UnsupportedConfigError

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
    time_input, time_width = _time_widths(options)
    yield from within("conv_in", convolution(first, options.size("in_channels"), options.size("conv_in_kernel")))
    if options.values["time_embedding_type"] == "fourier":
        yield "time_proj.weight", (time_width // 2,)
    condition = options.values["time_cond_proj_dim"]
    yield from within("time_embedding", timestep_embedding(time_input, time_width, condition))
    yield from _conditioning(options, time_input, time_width)
    block_time = time_width * 2 if options.values["class_embeddings_concat"] else time_width
    # Diffusers registers the empty lists of both sides before it builds the middle.
    yield from _down_blocks(options, block_time)
    yield from _up_blocks(options, block_time)
    yield from _mid_block(options, block_time)
    yield from within("conv_norm_out", _group_norm(options, first))
    yield from within("conv_out", convolution(options.size("out_channels"), first, options.size("conv_out_kernel")))


def _time_widths(options: UNetOptions) -> tuple[int, int]:
    """Channels that enter the time embedding, and its width."""
    override = options.values["time_embedding_dim"]
    first = options.channels[0]
    if options.values["time_embedding_type"] == "fourier":
        width = override or first * 2
        if width % 2:
            raise UnsupportedConfigError("time_embedding_dim", width, "must be even for fourier embeddings")
        return width, width
    return first, override or first * 4


def _conditioning(options: UNetOptions, time_input: int, width: int) -> Iterator[Named]:
    values = options.values
    if values["encoder_hid_dim_type"] or values["encoder_hid_dim"]:
        context = options.single_cross_attention_dim("encoder_hid_dim")
        yield from within("encoder_hid_proj", linear(context, options.size("encoder_hid_dim")))
    match values["class_embed_type"]:
        case None if values["num_class_embeds"]:
            yield "class_embedding.weight", (options.size("num_class_embeds"), width)
        case "timestep":
            yield from within("class_embedding", timestep_embedding(time_input, width))
        case "projection":
            inputs = options.size("projection_class_embeddings_input_dim")
            yield from within("class_embedding", timestep_embedding(inputs, width))
        case "simple_projection":
            yield from within("class_embedding", linear(width, options.size("projection_class_embeddings_input_dim")))
        case _:  # None without classes, or "identity": nothing to learn
            pass
    match values["addition_embed_type"]:
        case "text":
            text = values["encoder_hid_dim"] or options.single_cross_attention_dim("addition_embed_type")
            yield from within("add_embedding", text_time_embedding(text, width))
        case "text_time":
            options.size("addition_time_embed_dim")
            inputs = options.size("projection_class_embeddings_input_dim")
            yield from within("add_embedding", timestep_embedding(inputs, width))
        case _:
            pass


def _down_blocks(options: UNetOptions, time: int) -> Iterator[Named]:
    before = options.channels[0]
    last = len(options.channels) - 1
    for index, (kind, width) in enumerate(zip(options.down_blocks, options.channels, strict=True)):
        inputs = [before] + [width] * (options.layers[index] - 1)
        prefix = f"down_blocks.{index}"
        if kind == "CrossAttnDownBlock2D":
            depth = options.depths[index]
            yield from within(prefix, _attentions(options, index, len(inputs), depth, "transformer_layers_per_block"))
        yield from within(prefix, _resnets(options, inputs, width, time))
        if index != last:
            yield from within(f"{prefix}.downsamplers.0.conv", convolution(width, width, 3))
        before = width


def _up_blocks(options: UNetOptions, time: int) -> Iterator[Named]:
    last = len(options.channels) - 1
    below = options.channels[-1]
    for index, kind in enumerate(options.up_blocks):
        mirrored = last - index
        width = options.channels[mirrored]
        skip = options.channels[max(mirrored - 1, 0)]
        layers = options.layers[mirrored] + 1
        # Each layer also takes the map that the mirrored down block left; the last one that of the block above.
        inputs = [
            (below if layer == 0 else width) + (skip if layer == layers - 1 else width) for layer in range(layers)
        ]
        prefix = f"up_blocks.{index}"
        if kind == "CrossAttnUpBlock2D":
            field = "reverse_transformer_layers_per_block"
            yield from within(prefix, _attentions(options, mirrored, layers, options.up_depths[index], field))
        yield from within(prefix, _resnets(options, inputs, width, time))
        if index != last:
            yield from within(f"{prefix}.upsamplers.0.conv", convolution(width, width, 3))
        below = width


def _mid_block(options: UNetOptions, time: int) -> Iterator[Named]:
    kind, width = options.values["mid_block_type"], options.channels[-1]
    if kind is None:
        return
    if kind == "UNetMidBlock2DCrossAttn":
        depth = options.depths[-1]
        first = depth[0] if isinstance(depth, tuple) else depth
        yield from within("mid_block.attentions.0", _transformer(options, len(options.channels) - 1, first, mid=True))
    inputs = [width, width] if kind == "UNetMidBlock2DCrossAttn" else [width]
    yield from within("mid_block", _resnets(options, inputs, width, time))


def _attentions(
    options: UNetOptions, block: int, layers: int, depth: int | tuple[int, ...], field: str
) -> Iterator[Named]:
    depths = depth if isinstance(depth, tuple) else (depth,) * layers
    if len(depths) < layers:
        raise UnsupportedConfigError(field, list(depths), f"the block has {layers} layers")
    for layer in range(layers):
        yield from within(f"attentions.{layer}", _transformer(options, block, depths[layer], mid=False))


def _transformer(options: UNetOptions, block: int, depth: int, *, mid: bool) -> Iterator[Named]:
    channels, heads = options.channels[block], options.heads[block]
    if heads > channels:
        raise UnsupportedConfigError("attention_head_dim", heads, f"more heads than the block's {channels} channels")
    _check_groups(options, channels)
    return spatial_transformer(
        channels,
        heads=heads,
        depth=depth,
        context=options.cross_attention[block],
        linear_projection=options.values["use_linear_projection"],
        only_cross_attention=options.only_cross_attention[block] and not mid,
    )


def _resnets(options: UNetOptions, inputs: list[int], width: int, time: int) -> Iterator[Named]:
    scale_and_shift = options.values["resnet_time_scale_shift"] == "scale_shift"
    for layer, channels in enumerate(inputs):
        _check_groups(options, channels)
        _check_groups(options, width)
        yield from within(f"resnets.{layer}", resnet(channels, width, time, scale_and_shift=scale_and_shift))


def _group_norm(options: UNetOptions, channels: int) -> Iterator[Named]:
    _check_groups(options, channels)
    return normalization(channels)


def _check_groups(options: UNetOptions, channels: int) -> None:
    groups = options.size("norm_num_groups")
    if channels % groups:
        raise UnsupportedConfigError("norm_num_groups", groups, f"does not divide a layer's {channels} channels")
