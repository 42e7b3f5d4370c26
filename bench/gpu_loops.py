"""The two loops that `train_gpu.py` compares, at Stable Diffusion's shape, made ready to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from torch.utils.data import DataLoader
from transformers import CLIPTextConfig, CLIPTextModel

from diffusers_loop import DiffusersLoop, Parts
from gpu_parts import RandomMoments, RandomPictures, Size
from t2i_trainer.checkpointing.state import TrainingState
from t2i_trainer.data.feed import DrawnFeed
from t2i_trainer.data.prefetch import PrefetchingFeed
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.data.space import LatentSpace
from t2i_trainer.diffusion import scheduler_options
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.interruption import Interruption
from t2i_trainer.optim import build_optimizer
from t2i_trainer.step import TrainStep

if TYPE_CHECKING:
    from accelerate import Accelerator

    from t2i_trainer.world import World

_VAE: Any = cast("Any", AutoencoderKL)
_DDPM: Any = cast("Any", DDPMScheduler)
_TEXT: Any = cast("Any", CLIPTextModel)


def our_loop(
    unet: torch.nn.Module, size: Size, world: World, kind: type[TrainStep], *, fused: bool = True, **training: Any
) -> tuple[TrainStep, PrefetchingFeed]:
    """Return the trainer's step on `unet`, and the feed of cached moments to run it on."""
    if world.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    spec = size.spec(**training)
    for parameter in unet.parameters():
        parameter.grad = None
    ema = ExponentialMovingAverage(unet, spec.training.ema.decay, every_steps=spec.training.ema.every_steps)
    optimizer = build_optimizer(unet, spec.training)
    if not fused:
        optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, weight_decay=0.01)
    samples = RandomMoments(size)
    feed = DrawnFeed(
        samples=samples,
        space=LatentSpace(0.18215, 0.0),
        null=torch.zeros(size.tokens, size.width),
        order=SampleOrder(len(samples), 0, size.batch),
        world=world,
        timesteps=spec.diffusion.train_timesteps,
        dropout=0.1,
    )
    ahead = PrefetchingFeed(feed, world.device, threads=4, steps=10**6)
    return kind(spec, world, TrainingState(unet, ema, optimizer), Interruption()), ahead


def their_loop(size: Size, device: torch.device, accelerator: Accelerator) -> DiffusersLoop:
    """Return the script's loop with an autoencoder and a text encoder of Stable Diffusion's shape."""
    config: dict[str, Any] = {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_hidden_layers": 12,
    }
    text = CLIPTextConfig(**config, num_attention_heads=12 if not size.tiny else 4, vocab_size=1000, eos_token_id=2)
    encoder: Any = _TEXT(text).to(device, torch.bfloat16).requires_grad_(requires_grad=False)
    widths = (128, 256, 512, 512) if not size.tiny else (32, 32, 32, 32)
    vae: Any = _VAE(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2 if not size.tiny else 1,
    )
    vae = vae.to(device, torch.bfloat16).requires_grad_(requires_grad=False)
    spec = size.spec()
    parts = Parts(
        unet_config=spec.model.unet.resolved.to_diffusers(),
        scheduler=_DDPM(**scheduler_options(spec.diffusion)),
        encode_pixels=lambda pixels: vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor,
        encode_text=lambda tokens: encoder(tokens, return_dict=False)[0],
        loader=DataLoader(RandomPictures(size, 1000), batch_size=size.batch, shuffle=True),
        learning_rate=1e-4,
        weight_decay=0.01,
        max_grad_norm=1.0,
        ema_decay=0.9999,
    )
    return DiffusersLoop(parts, accelerator)
