"""The OLD home-made UNet of the story: residual blocks in the naming of OpenAI's guided-diffusion, faults included.

It exists so that its checkpoints are real: `in_layers`, `emb_layers`, `out_layers`, `skip_connection`, and output
layers initialised to zero that never learned. Block design after Dhariwal & Nichol 2021 (guided-diffusion, unet.py).
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

CHANNELS: Final = 48
TEXT_WIDTH: Final = 384
_EMBEDDING = 4 * CHANNELS
_GROUPS = 8


def zeroed(module: nn.Conv2d) -> nn.Conv2d:
    """Set a layer's parameters to zero: the block starts as identity."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


class ResBlock(nn.Module):
    """[B, C, H, W] and embedding [B, E] to [B, C', H, W]."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(_EMBEDDING, out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, out_channels), nn.SiLU(), zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        )
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Residual update of `x`."""
        hidden = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        result: Tensor = self.skip_connection(x) + self.out_layers(hidden)
        return result


class CustomUNet(nn.Module):
    """Predicts noise of [B, 3, 32, 32] pictures from a timestep [B] and a pooled caption embedding [B, 384]."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        wide = 2 * channels
        self.channels = channels
        self.time_embed = nn.Sequential(nn.Linear(channels, _EMBEDDING), nn.SiLU(), nn.Linear(_EMBEDDING, _EMBEDDING))
        self.text_embed = nn.Linear(TEXT_WIDTH, _EMBEDDING)
        self.input_conv = nn.Conv2d(3, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList(
            [ResBlock(channels, channels), ResBlock(channels, wide), ResBlock(wide, wide)]
        )
        self.middle_block = nn.ModuleList([ResBlock(wide, wide), ResBlock(wide, wide)])
        self.output_blocks = nn.ModuleList(
            [ResBlock(2 * wide, wide), ResBlock(2 * wide, channels), ResBlock(2 * channels, channels)]
        )
        self.out = nn.Sequential(
            nn.GroupNorm(_GROUPS, channels), nn.SiLU(), zeroed(nn.Conv2d(channels, 3, 3, padding=1))
        )

    def forward(self, x: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """Return the predicted noise, shaped as `x`; all zeros before training, by the zeroed output layer."""
        embedding = self.time_embed(_sinusoids(timesteps, self.channels)) + self.text_embed(text)
        hidden = self.input_conv(x)
        skips: list[Tensor] = []
        for index, block in enumerate(self.input_blocks):
            hidden = block(hidden, embedding)
            skips.append(hidden)
            if index < len(self.input_blocks) - 1:
                hidden = nn.functional.avg_pool2d(hidden, 2)
        for block in self.middle_block:
            hidden = block(hidden, embedding)
        for block in self.output_blocks:
            skip = skips.pop()
            hidden = nn.functional.interpolate(hidden, size=skip.shape[-2:])
            hidden = block(torch.cat([hidden, skip], dim=1), embedding)
        result: Tensor = self.out(hidden)
        return result


def _sinusoids(timesteps: Tensor, width: int) -> Tensor:
    """Return the sinusoidal embedding [B, width] of timesteps [B] (Vaswani et al. 2017)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(width // 2, dtype=torch.float32) / (width // 2))
    angles = timesteps[:, None].float() * rates
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)
