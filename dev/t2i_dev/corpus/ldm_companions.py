"""What lies beside the UNet in an LDM single file: the autoencoder, the text encoders, the schedule's buffers.

Names and shapes of the original code (CompVis `ldm/modules/diffusionmodules/model.py`, OpenCLIP's text tower).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

TIMESTEPS = 1000
_DDPM_BUFFERS = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
)


class ResnetBlock(nn.Module):
    """Residual block of the autoencoder."""

    def __init__(self, channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if channels != out_channels:
            self.nin_shortcut = nn.Conv2d(channels, out_channels, 1)


class AttnBlock(nn.Module):
    """Self-attention by 1x1 convolutions."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))


class Level(nn.Module):
    """One resolution of encoder or decoder."""

    def __init__(
        self, channels: int, out_channels: int, blocks: int, groups: int, resample: str | None
    ) -> None:  # private to this file
        super().__init__()
        widths = [channels] + [out_channels] * blocks
        self.block = nn.ModuleList([ResnetBlock(widths[i], out_channels, groups) for i in range(blocks)])
        self.attn = nn.ModuleList()
        if resample is not None:
            layer = nn.Module()
            layer.conv = nn.Conv2d(out_channels, out_channels, 3)
            self.add_module(resample, layer)


class Middle(nn.Module):
    """Two residual blocks around an attention."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, groups)
        self.attn_1 = AttnBlock(channels, groups)
        self.block_2 = ResnetBlock(channels, channels, groups)


class Encoder(nn.Module):
    """Picture to moments."""

    def __init__(self, width: int, multipliers: Sequence[int], latent: int, groups: int) -> None:
        super().__init__()
        widths = [width] + [width * each for each in multipliers]
        last = len(multipliers) - 1
        self.conv_in = nn.Conv2d(3, width, 3)
        self.down = nn.ModuleList(
            [
                Level(widths[i], widths[i + 1], 2, groups, "downsample" if i != last else None)
                for i in range(len(multipliers))
            ]
        )
        self.mid = Middle(widths[-1], groups)
        self.norm_out = nn.GroupNorm(groups, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 2 * latent, 3)


class Decoder(nn.Module):
    """Latents to picture; levels are numbered from the finest."""

    def __init__(self, width: int, multipliers: Sequence[int], latent: int, groups: int) -> None:
        super().__init__()
        widths = [width * each for each in multipliers]
        self.conv_in = nn.Conv2d(latent, widths[-1], 3)
        self.mid = Middle(widths[-1], groups)
        before = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            [Level(before[i], widths[i], 3, groups, "upsample" if i else None) for i in range(len(widths))]
        )
        self.norm_out = nn.GroupNorm(groups, widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3)


class AutoencoderKL(nn.Module):
    """The autoencoder below `first_stage_model.`."""

    def __init__(
        self, width: int = 128, multipliers: Sequence[int] = (1, 2, 4, 4), latent: int = 4, groups: int = 32
    ) -> None:
        super().__init__()
        self.encoder = Encoder(width, multipliers, latent, groups)
        self.decoder = Decoder(width, multipliers, latent, groups)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)


class _ResidualAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 1)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.c_fc = nn.Linear(width, 4 * width)
        self.mlp.c_proj = nn.Linear(4 * width, width)


class OpenClipText(nn.Module):
    """The text tower of OpenCLIP, below `cond_stage_model.model.` (SD 2.x) and `conditioner.embedders.1.model.`."""

    def __init__(self, width: int, layers: int, projection: int, vocabulary: int = 49408, tokens: int = 77) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(tokens, width))
        self.text_projection = nn.Parameter(torch.empty(width, projection))
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList([_ResidualAttention(width) for _ in range(layers)])
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.ln_final = nn.LayerNorm(width)


def clip_text(**changes: int) -> CLIPTextModel:
    """Return CLIP ViT-L/14's text tower, or a smaller one."""
    return CLIPTextModel(cast("Any", CLIPTextConfig)(**{"hidden_size": 768, "intermediate_size": 3072, **changes}))


def schedule_buffers() -> dict[str, torch.Tensor]:
    """Return what DDPM registers as buffers, each [1000]."""
    return {name: torch.linspace(0, 1, TIMESTEPS) for name in _DDPM_BUFFERS}


def below(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's state with every name below `prefix`."""
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def flat_ema(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return an EMA as `LitEma` keeps it: one buffer a parameter, its name without dots."""
    averages = {
        "model_ema." + ("diffusion_model." + name).replace(".", ""): tensor
        for name, tensor in model.state_dict().items()
    }
    return {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(4), **averages}
