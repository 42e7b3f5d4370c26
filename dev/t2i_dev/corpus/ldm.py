"""The UNet of the original Stable Diffusion code (CompVis, Stability) as real modules: its tree of names, its shapes.

It exists so that single files in LDM naming are real, and stands on its own: the renaming that the project derives and
Diffusers' own converter are both held against it. No forward pass: nobody trains it.
Source: `ldm/modules/diffusionmodules/openaimodel.py` of CompVis/stable-diffusion and Stability-AI/generative-models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class LdmConfig:
    """`unet_config.params` of the original YAML files; `depths[level]` transformer layers, 0 for no attention.

    `groups` of the norms have no shape; `labels` is the width of the vector conditioning (`adm_in_channels`).
    """

    in_channels: int
    out_channels: int
    model_channels: int
    multipliers: Sequence[int]
    residual_blocks: int
    depths: Sequence[int]
    middle_depth: int
    context: int
    linear_projection: bool = False
    labels: int | None = None
    groups: int = 32


SD1 = LdmConfig(4, 4, 320, (1, 2, 4, 4), 2, (1, 1, 1, 0), 1, 768)
SD1_INPAINTING = LdmConfig(9, 4, 320, (1, 2, 4, 4), 2, (1, 1, 1, 0), 1, 768)
SD2 = LdmConfig(4, 4, 320, (1, 2, 4, 4), 2, (1, 1, 1, 0), 1, 1024, linear_projection=True)
SDXL = LdmConfig(4, 4, 320, (1, 2, 4), 2, (0, 2, 10), 10, 2048, linear_projection=True, labels=2816)
SDXL_REFINER = LdmConfig(4, 4, 384, (1, 2, 4, 4), 2, (0, 4, 4, 0), 4, 1280, linear_projection=True, labels=2560)
# The UNet of the corpus's tiny job, had it been trained with that code.
TINY = LdmConfig(3, 3, 8, (1, 2), 1, (0, 1), 1, 16, groups=4)


class ResBlock(nn.Module):
    """Residual block with a time embedding."""

    def __init__(self, channels: int, out_channels: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(groups, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, out_channels),
            nn.SiLU(),
            nn.Dropout(0.0),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)


class CrossAttention(nn.Module):
    """Attention whose keys and values come from `context` channels."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels), nn.Dropout(0.0))


class GatedLinear(nn.Module):
    """GEGLU: one projection for value and gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 8 * channels)


class FeedForward(nn.Module):
    """The transformer's feed-forward layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedLinear(channels), nn.Dropout(0.0), nn.Linear(4 * channels, channels))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.attn1 = CrossAttention(channels, channels)
        self.ff = FeedForward(channels)
        self.attn2 = CrossAttention(channels, context)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))


class SpatialTransformer(nn.Module):
    """Transformer blocks over the pixels of a feature map."""

    def __init__(self, channels: int, depth: int, config: LdmConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.groups, channels)
        self.proj_in = _projection(channels, linear=config.linear_projection)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, config.context) for _ in range(depth)])
        self.proj_out = _projection(channels, linear=config.linear_projection)


class Downsample(nn.Module):
    """Strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)


class Upsample(nn.Module):
    """Convolution after nearest-neighbour interpolation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)


class UNetModel(nn.Module):
    """The UNet; `state_dict()` is what lies below `model.diffusion_model.` in a single file."""

    def __init__(self, config: LdmConfig) -> None:
        super().__init__()
        width, embedding = config.model_channels, 4 * config.model_channels
        self.time_embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        if config.labels is not None:
            labels = nn.Sequential(nn.Linear(config.labels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
            self.label_emb = nn.Sequential(labels)
        self.input_blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(config.in_channels, width, 3, padding=1))])
        skips = self._add_input_blocks(config, embedding)
        deepest = width * config.multipliers[-1]
        self.middle_block = nn.Sequential(
            ResBlock(deepest, deepest, embedding, config.groups),
            SpatialTransformer(deepest, config.middle_depth, config),
            ResBlock(deepest, deepest, embedding, config.groups),
        )
        self.output_blocks = nn.ModuleList()
        self._add_output_blocks(config, embedding, skips)
        self.out = nn.Sequential(
            nn.GroupNorm(config.groups, width), nn.SiLU(), nn.Conv2d(width, config.out_channels, 3, padding=1)
        )

    def _add_input_blocks(self, config: LdmConfig, embedding: int) -> list[int]:
        """Return the channels of every skip connection, outermost first."""
        channels = config.model_channels
        skips = [channels]
        for level, multiplier in enumerate(config.multipliers):
            for _ in range(config.residual_blocks):
                width = config.model_channels * multiplier
                layers: list[nn.Module] = [ResBlock(channels, width, embedding, config.groups)]
                channels = width
                if config.depths[level]:
                    layers.append(SpatialTransformer(channels, config.depths[level], config))
                self.input_blocks.append(nn.Sequential(*layers))
                skips.append(channels)
            if level != len(config.multipliers) - 1:
                self.input_blocks.append(nn.Sequential(Downsample(channels)))
                skips.append(channels)
        return skips

    def _add_output_blocks(self, config: LdmConfig, embedding: int, skips: list[int]) -> None:
        channels = config.model_channels * config.multipliers[-1]
        for level, multiplier in reversed(list(enumerate(config.multipliers))):
            for index in range(config.residual_blocks + 1):
                width = config.model_channels * multiplier
                layers: list[nn.Module] = [ResBlock(channels + skips.pop(), width, embedding, config.groups)]
                channels = width
                if config.depths[level]:
                    layers.append(SpatialTransformer(channels, config.depths[level], config))
                if level and index == config.residual_blocks:
                    layers.append(Upsample(channels))
                self.output_blocks.append(nn.Sequential(*layers))


def shapes(config: LdmConfig, prefix: str = "model.diffusion_model.") -> dict[str, tuple[int, ...]]:
    """Return name -> shape as in a single file; nothing is allocated."""
    with torch.device("meta"):
        model = UNetModel(config)
    return {f"{prefix}{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _projection(channels: int, *, linear: bool) -> nn.Module:
    return nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
