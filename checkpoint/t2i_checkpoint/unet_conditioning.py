"""What a UNet is told besides the picture: time, text, classes, images, places; as streams of (name, shape).

Structure after Diffusers 0.42, `models/embeddings.py` and `UNet2DConditionModel._set_*`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from t2i_checkpoint.unet_layers import Named, convolution, linear, normalization, timestep_embedding, within
from t2i_checkpoint.unet_options import UnsupportedConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.unet_options import UNetOptions

_TEXT_IMAGE_TOKENS, _IMAGE_TOKENS = 10, 32
_HINT_CHANNELS = (3, 16, 16, 32, 32, 96, 96, 256, 4)
_OBJECT_WIDTH = 512
_PLACE_WIDTH = 8 * 2 * 4  # frequencies, sine and cosine, two corners of a box


def time_widths(options: UNetOptions) -> tuple[int, int]:
    """Channels that enter the time embedding, and its width."""
    override = options.values["time_embedding_dim"]
    first = options.channels[0]
    if options.values["time_embedding_type"] == "fourier":
        width = override or first * 2
        if width % 2:
            raise UnsupportedConfigError("time_embedding_dim", width, "must be even for fourier embeddings")
        return width, width
    return first, override or first * 4


def conditioning(options: UNetOptions) -> Iterator[Named]:
    """Yield all embeddings that come before the blocks, time first."""
    time_input, width = time_widths(options)
    if options.values["time_embedding_type"] == "fourier":
        yield "time_proj.weight", (width // 2,)
    condition = options.values["time_cond_proj_dim"]
    yield from within("time_embedding", timestep_embedding(time_input, width, condition))
    yield from within("encoder_hid_proj", _hidden_states(options))
    yield from within("class_embedding", _classes(options, time_input, width))
    yield from within("add_embedding", _addition(options, width))


def positions(options: UNetOptions) -> Iterator[Named]:
    """Yield GLIGEN's embedding of objects and their boxes, which Diffusers registers last."""
    kind = options.values["attention_type"]
    if kind == "default":
        return
    context = options.values["cross_attention_dim"]
    if isinstance(context, list):
        raise UnsupportedConfigError("cross_attention_dim", context, f"attention_type {kind} needs a single number")
    width = context[0] if isinstance(context, tuple) else context
    objects = ("linears",) if kind == "gated" else ("linears_text", "linears_image")
    for feature in ("null_positive_feature",) if kind == "gated" else ("null_text_feature", "null_image_feature"):
        yield f"position_net.{feature}", (width,)
    yield "position_net.null_position_feature", (_PLACE_WIDTH,)
    for name in objects:
        yield from within(f"position_net.{name}.0", linear(_OBJECT_WIDTH, width + _PLACE_WIDTH))
        yield from within(f"position_net.{name}.2", linear(_OBJECT_WIDTH, _OBJECT_WIDTH))
        yield from within(f"position_net.{name}.4", linear(width, _OBJECT_WIDTH))


def _hidden_states(options: UNetOptions) -> Iterator[Named]:
    kind = options.values["encoder_hid_dim_type"]
    if kind is None and options.values["encoder_hid_dim"] is None:
        return
    context, hidden = options.single_cross_attention_dim("encoder_hid_dim"), options.size("encoder_hid_dim")
    match kind:
        case "text_image_proj":  # Kandinsky 2.1
            yield from within("image_embeds", linear(_TEXT_IMAGE_TOKENS * context, context))
            yield from within("text_proj", linear(context, hidden))
        case "image_proj":  # Kandinsky 2.2
            yield from within("image_embeds", linear(_IMAGE_TOKENS * context, hidden))
            yield from within("norm", normalization(context))
        case _:
            yield from linear(context, hidden)


def _classes(options: UNetOptions, time_input: int, width: int) -> Iterator[Named]:
    match options.values["class_embed_type"]:
        case None if options.values["num_class_embeds"]:
            yield "weight", (options.size("num_class_embeds"), width)
        case "timestep":
            yield from timestep_embedding(time_input, width)
        case "projection":
            yield from timestep_embedding(options.size("projection_class_embeddings_input_dim"), width)
        case "simple_projection":
            yield from linear(width, options.size("projection_class_embeddings_input_dim"))
        case _:  # None without classes, or "identity": nothing to learn
            pass


def _addition(options: UNetOptions, width: int) -> Iterator[Named]:
    match options.values["addition_embed_type"]:
        case "text":
            text = options.values["encoder_hid_dim"] or options.single_cross_attention_dim("addition_embed_type")
            yield from _pooled_text(text, width)
        case "text_time":
            options.size("addition_time_embed_dim")
            yield from timestep_embedding(options.size("projection_class_embeddings_input_dim"), width)
        case "text_image":
            context = options.single_cross_attention_dim("addition_embed_type")
            yield from within("text_proj", linear(width, context))
            yield from within("text_norm", normalization(width))
            yield from within("image_proj", linear(width, context))
        case "image" | "image_hint" as kind:
            yield from within("image_proj", linear(width, options.size("encoder_hid_dim")))
            yield from within("image_norm", normalization(width))
            if kind == "image_hint":
                yield from _hint()
        case _:
            pass


def _pooled_text(text_channels: int, width: int) -> Iterator[Named]:
    """Text pooled by attention and projected to the time embedding (DeepFloyd IF)."""
    yield from within("norm1", normalization(text_channels))
    yield "pool.positional_embedding", (1, text_channels)
    for projection in ("k_proj", "q_proj", "v_proj"):
        yield from within(f"pool.{projection}", linear(text_channels, text_channels))
    yield from within("proj", linear(width, text_channels))
    yield from within("norm2", normalization(width))


def _hint() -> Iterator[Named]:
    """Convolutions that shrink a hint picture to latents; activations take the odd numbers between them."""
    for index, (channels, out_channels) in enumerate(pairwise(_HINT_CHANNELS)):
        yield from within(f"input_hint_block.{2 * index}", convolution(out_channels, channels, 3))
