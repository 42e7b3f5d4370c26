"""Attention layers of a UNet, as streams of (name, shape) in the order in which torch registers them.

Structure after Diffusers 0.42: `attention_processor.Attention`, `attention.BasicTransformerBlock` and
`GatedSelfAttentionDense`, `transformer_2d.Transformer2DModel`, `dual_transformer_2d`, `unet_2d_blocks.KAttentionBlock`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.unet_layers import Named, convolution, linear, normalization, time_normalization, within

if TYPE_CHECKING:
    from collections.abc import Iterator

_FEED_FORWARD_FACTOR = 4


def attention(width: int, context: int, *, bias: bool = False, inner: int | None = None) -> Iterator[Named]:
    """Queries of `width`, keys and values from `context` channels; `inner` is the width of all heads together."""
    inner = width if inner is None else inner
    yield from within("to_q", linear(inner, width, bias=bias))
    yield from within("to_k", linear(inner, context, bias=bias))
    yield from within("to_v", linear(inner, context, bias=bias))
    yield from within("to_out.0", linear(width, inner))


def pixel_attention(channels: int, head_width: int) -> Iterator[Named]:
    """Self-attention over pixels, of the first diffusion UNets (AttnDownBlock2D)."""
    yield from within("group_norm", normalization(channels))
    yield from attention(channels, channels, bias=True, inner=channels // head_width * head_width)


def added_attention(
    channels: int, head_width: int, context: int, *, only_context: bool, context_norm: int | None
) -> Iterator[Named]:
    """Yield one attention over pixels and `context` together (DeepFloyd IF); `context_norm` channels are normalized."""
    inner = channels // head_width * head_width
    yield from within("group_norm", normalization(channels))
    if context_norm is not None:
        yield from within("norm_cross", normalization(context_norm))
    yield from within("to_q", linear(inner, channels))
    if not only_context:
        yield from within("to_k", linear(inner, channels))
        yield from within("to_v", linear(inner, channels))
    yield from within("add_k_proj", linear(inner, context))
    yield from within("add_v_proj", linear(inner, context))
    yield from within("to_out.0", linear(channels, inner))


def time_normalized_attention(
    channels: int, head_width: int, context: int, time: int, *, self_attention: bool
) -> Iterator[Named]:
    """Attention of k-diffusion: time enters the norms, the context is normalized too."""
    inner = channels // head_width * head_width
    if self_attention:
        yield from within("norm1", time_normalization(channels, time))
        yield from within("attn1", attention(channels, channels, bias=True, inner=inner))
    yield from within("norm2", time_normalization(channels, time))
    yield from within("attn2.norm_cross", normalization(context))
    yield from within("attn2", attention(channels, context, bias=True, inner=inner))


def spatial_transformer(  # noqa: PLR0913  # keyword-only options of one block
    channels: int,
    *,
    heads: int,
    depth: int,
    context: int,
    linear_projection: bool = False,
    only_cross_attention: bool = False,
    gated: bool = False,
) -> Iterator[Named]:
    """Yield a transformer over the pixels of `channels` maps, `depth` blocks deep."""
    # Heads that do not divide the width make the inside narrower, as Diffusers builds it.
    width = heads * (channels // heads)
    yield from within("norm", normalization(channels))
    yield from within("proj_in", linear(width, channels) if linear_projection else convolution(width, channels, 1))
    for index in range(depth):
        block = _transformer_block(width, context, only_cross_attention=only_cross_attention, gated=gated)
        yield from within(f"transformer_blocks.{index}", block)
    yield from within("proj_out", linear(channels, width) if linear_projection else convolution(channels, width, 1))


def dual_transformer(channels: int, *, heads: int, context: int) -> Iterator[Named]:
    """Two transformers side by side, one a kind of context (Versatile Diffusion)."""
    for index in range(2):
        one = spatial_transformer(channels, heads=heads, depth=1, context=context)
        yield from within(f"transformers.{index}", one)


def _transformer_block(width: int, context: int, *, only_cross_attention: bool, gated: bool) -> Iterator[Named]:
    """Self-attention (on the context if `only_cross_attention`), cross-attention, feed-forward, objects if `gated`."""
    yield from within("norm1", normalization(width))
    yield from within("attn1", attention(width, context if only_cross_attention else width))
    yield from within("norm2", normalization(width))
    yield from within("attn2", attention(width, context))
    yield from within("norm3", normalization(width))
    yield from within("ff", _feed_forward(width))
    if gated:
        yield from within("fuser", _gated_attention(width, context))


def _feed_forward(width: int) -> Iterator[Named]:
    inner = width * _FEED_FORWARD_FACTOR
    yield from within("net.0.proj", linear(2 * inner, width))  # GEGLU: value and gate
    yield from within("net.2", linear(width, inner))


def _gated_attention(width: int, context: int) -> Iterator[Named]:
    """Objects with their places, let in by two learned scalars (GLIGEN)."""
    yield "alpha_attn", ()
    yield "alpha_dense", ()
    yield from within("linear", linear(width, context))
    yield from within("attn", attention(width, width))
    yield from within("ff", _feed_forward(width))
    yield from within("norm1", normalization(width))
    yield from within("norm2", normalization(width))
