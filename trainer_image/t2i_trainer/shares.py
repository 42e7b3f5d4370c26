"""Tensors of which a rank may hold a share only (`sharding.py`), for everything that reads, writes or compares them.

A plain tensor is all of itself, so that callers need not ask. What a rank does alone with a plain model, all ranks do
together with a sharded one: a forward pass, and reading a whole tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_sharded(module: torch.nn.Module) -> bool:
    """Whether the ranks share the module: then a forward pass of one is a forward pass of all."""
    return isinstance(module, FSDPModule)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return the whole tensor; of a sharded one, every rank must ask at the same place of its program."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return this rank's part, which may be empty, without a gradient: the living memory. All of a plain tensor."""
    held = tensor.detach()
    return held.to_local() if isinstance(held, DTensor) else held


@torch.no_grad()
def placed(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a whole tensor, which every rank holds alike, held as `like` is; the ranks exchange nothing."""
    if not isinstance(like, DTensor):
        return tensor
    on_device = tensor.to(like.device)
    share = distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)
    return share.clone()  # until here it is a view, which would keep the whole one


def help_gathering(files: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Give this rank's share of every tensor that another rank reads whole, in the same order."""
    for held in files.values():
        for tensor in held.values():
            whole(tensor)


def gathered(module: torch.nn.Module, *, keep: bool) -> dict[str, torch.Tensor]:
    """Return a module's whole state on the CPU where `keep` holds, elsewhere nothing; every rank takes part."""
    kept = {}
    for name, tensor in module.state_dict().items():
        full = whole(tensor.detach())
        if keep:
            kept[name] = full.cpu().contiguous()
    return kept
