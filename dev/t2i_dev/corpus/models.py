"""The models and optimizers whose checkpoints the corpus holds: real ones, small, the same at every build."""

import zlib
from typing import Any, Final, cast

import torch
from diffusers import UNet2DConditionModel

from t2i_dev.corpus.jobs import TINY_UNET

# Diffusers carries no types of its own.
_UNET = cast("Any", UNet2DConditionModel)
# Diffusers before 0.15 named the projections of its attention blocks so (`AttentionBlock`).
_OLD_ATTENTION: Final = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


def seeded(name: str) -> None:
    """Draw what follows from a generator of this name: no two rows hold the same weights."""
    torch.manual_seed(zlib.crc32(name.encode()))


def unet(name: str = "unet", **changes: Any) -> torch.nn.Module:
    """Return the tiny job's UNet with some options changed."""
    seeded(name)
    model: torch.nn.Module = _UNET(**{**TINY_UNET, **changes})
    return model


def compiled(name: str) -> torch.nn.Module:
    """Return the same inside `torch.compile`, which is never run: it only prepends `_orig_mod.`."""
    model: torch.nn.Module = cast("Any", torch.compile(unet(name)))
    return model


def stepped_adamw(model: torch.nn.Module, *, backwards: bool = False) -> torch.optim.AdamW:
    """Return an AdamW that has moments for every parameter; `backwards` registers them in reverse."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters[::-1] if backwards else parameters, lr=1e-4)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


def warmup(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a schedule as training scripts use it."""
    return torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=1000)


def old_attention_name(name: str) -> str:
    """Return the name that Diffusers before 0.15 gave to a parameter of a self-attention block."""
    if ".transformer_blocks." in name:
        return name
    for new, old in _OLD_ATTENTION.items():
        name = name.replace(new, old)
    return name
