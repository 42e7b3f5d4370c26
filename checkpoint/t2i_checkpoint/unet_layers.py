"""The layers a UNet is built from, as streams of (name, shape) in the order in which torch registers them.

Structure after Diffusers 0.42: `resnet.ResnetBlock2D`, `transformer_2d.Transformer2DModel`,
`attention.BasicTransformerBlock`, `embeddings.TimestepEmbedding`. Weights of linear layers are [out, in], of
convolutions [out, in, height, width].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Shape = tuple[int, ...]
Named = tuple[str, Shape]

_FEED_FORWARD_FACTOR = 4


def within(prefix: str, inner: Iterable[Named]) -> Iterator[Named]:
    """Put `prefix.` before every name."""
    for name, shape in inner:
        yield f"{prefix}.{name}", shape


def linear(out_features: int, in_features: int, *, bias: bool = True) -> Iterator[Named]:
    """Weight and bias of a linear layer."""
    yield "weight", (out_features, in_features)
    if bias:
        yield "bias", (out_features,)


def convolution(out_channels: int, in_channels: int, kernel: int) -> Iterator[Named]:
    """Weight and bias of a square convolution."""
    yield "weight", (out_channels, in_channels, kernel, kernel)
    yield "bias", (out_channels,)


def normalization(channels: int) -> Iterator[Named]:
    """Weight and bias of a group or layer normalization."""
    yield "weight", (channels,)
    yield "bias", (channels,)


def resnet(in_channels: int, out_channels: int, time_channels: int, *, scale_and_shift: bool) -> Iterator[Named]:
    """Yield a residual block; its shortcut is a convolution only where the width changes."""
    yield from within("norm1", normalization(in_channels))
    yield from within("conv1", convolution(out_channels, in_channels, 3))
    yield from within("time_emb_proj", linear(out_channels * (2 if scale_and_shift else 1), time_channels))
    yield from within("norm2", normalization(out_channels))
    yield from within("conv2", convolution(out_channels, out_channels, 3))
    if in_channels != out_channels:
        yield from within("conv_shortcut", convolution(out_channels, in_channels, 1))


def attention(width: int, context: int) -> Iterator[Named]:
    """Queries of `width`, keys and values from `context` channels."""
    yield from within("to_q", linear(width, width, bias=False))
    yield from within("to_k", linear(width, context, bias=False))
    yield from within("to_v", linear(width, context, bias=False))
    yield from within("to_out.0", linear(width, width))


def transformer_block(width: int, context: int, *, only_cross_attention: bool) -> Iterator[Named]:
    """Self-attention (on the context too if `only_cross_attention`), cross-attention, gated feed-forward."""
    yield from within("norm1", normalization(width))
    yield from within("attn1", attention(width, context if only_cross_attention else width))
    yield from within("norm2", normalization(width))
    yield from within("attn2", attention(width, context))
    yield from within("norm3", normalization(width))
    inner = width * _FEED_FORWARD_FACTOR
    yield from within("ff.net.0.proj", linear(2 * inner, width))  # GEGLU: value and gate
    yield from within("ff.net.2", linear(width, inner))


def spatial_transformer(  # noqa: PLR0913  # keyword-only options of one block
    channels: int, *, heads: int, depth: int, context: int, linear_projection: bool, only_cross_attention: bool
) -> Iterator[Named]:
    """Yield a transformer over the pixels of `channels` maps, `depth` blocks deep."""
    # Heads that do not divide the width make the inside narrower, as Diffusers builds it.
    width = heads * (channels // heads)
    yield from within("norm", normalization(channels))
    yield from within("proj_in", linear(width, channels) if linear_projection else convolution(width, channels, 1))
    for index in range(depth):
        block = transformer_block(width, context, only_cross_attention=only_cross_attention)
        yield from within(f"transformer_blocks.{index}", block)
    yield from within("proj_out", linear(channels, width) if linear_projection else convolution(channels, width, 1))


def timestep_embedding(in_channels: int, width: int, condition: int | None = None) -> Iterator[Named]:
    """Two linear layers; `condition` channels are projected onto the input (guidance distillation)."""
    yield from within("linear_1", linear(width, in_channels))
    if condition is not None:
        yield from within("cond_proj", linear(in_channels, condition, bias=False))
    yield from within("linear_2", linear(width, width))


def text_time_embedding(text_channels: int, width: int) -> Iterator[Named]:
    """Text pooled by attention and projected to the time embedding (DeepFloyd IF)."""
    yield from within("norm1", normalization(text_channels))
    yield "pool.positional_embedding", (1, text_channels)
    for projection in ("k_proj", "q_proj", "v_proj"):
        yield from within(f"pool.{projection}", linear(text_channels, text_channels))
    yield from within("proj", linear(width, text_channels))
    yield from within("norm2", normalization(width))
