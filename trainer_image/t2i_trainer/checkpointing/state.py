"""What a run is at the end of a step, as tensors by name, and back: weights, EMA, AdamW. No pickle, no random state.

Sample order, noise and learning rate are pure functions of the step, so the step and these tensors are everything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from t2i_checkpoint.optimizer import MOMENTS, STEP, moment_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from t2i_trainer.ema import ExponentialMovingAverage

_METADATA = {"format": "pt"}


@dataclass
class TrainingState:
    """The living parts of a run; `step` counts the optimizer steps done."""

    unet: torch.nn.Module
    ema: ExponentialMovingAverage
    optimizer: torch.optim.AdamW
    step: int = 0


def module_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's state on the CPU, contiguous, in state-dict order."""
    return {name: _plain(tensor) for name, tensor in module.state_dict().items()}


def optimizer_tensors(module: torch.nn.Module, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
    """Return AdamW's moments by parameter name, and the step it counts."""
    tensors: dict[str, torch.Tensor] = {}
    for moment in MOMENTS:
        for name, parameter in module.named_parameters():
            # A parameter that is not trained (fourier time embedding) has no moments.
            held = optimizer.state[parameter][moment] if parameter.requires_grad else torch.zeros_like(parameter)
            tensors[moment_name(moment, name)] = _plain(held)
    first = next(parameter for parameter in module.parameters() if parameter.requires_grad)
    tensors[STEP] = _plain(optimizer.state[first]["step"]).float().reshape(())
    return tensors


@torch.no_grad()
def load_module(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into a module of exactly these names and shapes; raises KeyError or RuntimeError otherwise."""
    module.load_state_dict(dict(tensors), strict=True, assign=False)


@torch.no_grad()
def load_optimizer(module: torch.nn.Module, optimizer: torch.optim.AdamW, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put the moments back, each in the memory format of its parameter."""
    for name, parameter in module.named_parameters():
        state: dict[str, torch.Tensor] = {"step": tensors[STEP].clone().to(parameter.device)}
        for moment in MOMENTS:
            stored = tensors[moment_name(moment, name)]
            if stored.shape != parameter.shape:  # copy_ would broadcast
                raise RuntimeError(f"{moment} of {name} has shape {tuple(stored.shape)}, not {tuple(parameter.shape)}")
            state[moment] = torch.empty_like(parameter).copy_(stored)
        optimizer.state[parameter] = state


def rename_tensors(tensors: Mapping[str, torch.Tensor], names: Mapping[str, str] | None) -> dict[str, torch.Tensor]:
    """Return stored tensors under the model's names; those that `names` lacks are no part of the model."""
    if names is None:
        return dict(tensors)
    return {names[name]: tensor for name, tensor in tensors.items() if name in names}


def rename_moments(tensors: Mapping[str, torch.Tensor], names: Mapping[str, str] | None) -> dict[str, torch.Tensor]:
    """Return an optimizer file's tensors for the model's names; the step it counts has none."""
    if names is None:
        return dict(tensors)
    renamed = {moment_name(moment, old): moment_name(moment, new) for moment in MOMENTS for old, new in names.items()}
    return rename_tensors(tensors, {**renamed, STEP: STEP})


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a safetensors file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), path, metadata=_METADATA)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file into memory."""
    return load_file(path)


def weights_sha256(module: torch.nn.Module) -> str:
    """Return the hex SHA-256 over names and bytes of a module's state: equal exactly for equal weights."""
    digest = hashlib.sha256()
    for name, tensor in module_tensors(module).items():
        digest.update(name.encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous()
