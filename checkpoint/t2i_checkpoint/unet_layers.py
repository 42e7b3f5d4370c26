"""The layers a UNet is built from, as streams of (name, shape) in the order in which torch registers them.

Structure after Diffusers 0.42: `resnet.ResnetBlock2D`, `resnet.ResnetBlockCondNorm2D`, `embeddings.TimestepEmbedding`.
Weights of linear layers are [out, in], of convolutions [out, in, height, width].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Shape = tuple[int, ...]
Named = tuple[str, Shape]


def within(prefix: str, inner: Iterable[Named]) -> Iterator[Named]:
    """Put `prefix.` before every name."""
    for name, shape in inner:
        yield f"{prefix}.{name}", shape


def linear(out_features: int, in_features: int, *, bias: bool = True) -> Iterator[Named]:
    """Weight and bias of a linear layer."""
    yield "weight", (out_features, in_features)
    if bias:
        yield "bias", (out_features,)


def convolution(out_channels: int, in_channels: int, kernel: int, *, bias: bool = True) -> Iterator[Named]:
    """Weight and bias of a square convolution."""
    yield "weight", (out_channels, in_channels, kernel, kernel)
    if bias:
        yield "bias", (out_channels,)


def normalization(channels: int) -> Iterator[Named]:
    """Weight and bias of a group or layer normalization."""
    yield "weight", (channels,)
    yield "bias", (channels,)


def resnet(
    in_channels: int, out_channels: int, time_channels: int, *, scale_and_shift: bool, shortcut: bool | None = None
) -> Iterator[Named]:
    """Yield a residual block; unless told, its shortcut is a convolution only where the width changes."""
    yield from within("norm1", normalization(in_channels))
    yield from within("conv1", convolution(out_channels, in_channels, 3))
    yield from within("time_emb_proj", linear(out_channels * (2 if scale_and_shift else 1), time_channels))
    yield from within("norm2", normalization(out_channels))
    yield from within("conv2", convolution(out_channels, out_channels, 3))
    if in_channels != out_channels if shortcut is None else shortcut:
        yield from within("conv_shortcut", convolution(out_channels, in_channels, 1))


def time_normalization(channels: int, time_channels: int) -> Iterator[Named]:
    """Yield a group normalization whose scale and shift come from the time embedding (AdaGroupNorm)."""
    yield from within("linear", linear(2 * channels, time_channels))


def time_normalized_resnet(in_channels: int, width: int, out_channels: int, time_channels: int) -> Iterator[Named]:
    """Yield a residual block of k-diffusion: time enters its norms only; `width` is that of its inside."""
    yield from within("norm1", time_normalization(in_channels, time_channels))
    yield from within("conv1", convolution(width, in_channels, 3))
    yield from within("norm2", time_normalization(width, time_channels))
    yield from within("conv2", convolution(out_channels, width, 3))
    if in_channels != out_channels:
        yield from within("conv_shortcut", convolution(out_channels, in_channels, 1, bias=False))


def timestep_embedding(in_channels: int, width: int, condition: int | None = None) -> Iterator[Named]:
    """Two linear layers; `condition` channels are projected onto the input (guidance distillation)."""
    yield from within("linear_1", linear(width, in_channels))
    if condition is not None:
        yield from within("cond_proj", linear(in_channels, condition, bias=False))
    yield from within("linear_2", linear(width, width))
