"""What a run is at the end of a step, as tensors by name, and back: weights, EMA, AdamW. No pickle, no random state.

Sample order, noise and learning rate are pure functions of the step, so the step and these tensors are everything.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from t2i_checkpoint import layout
from t2i_checkpoint.optimizer import MOMENTS, STEP, moment_name
from t2i_trainer.shares import placed, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from t2i_trainer.ema import ExponentialMovingAverage

_METADATA = {"format": "pt"}
_PICTURE_DIMENSIONS = 4
_WORD_BYTES = 8
_FOLD = 29  # bits, which carries a sign to where a float of either half has none
_FOLDED = 2 ** (64 - _FOLD) - 1  # what a shift without sign leaves
_BLOCK = 2**20  # words
_STRETCH = 2**16  # words, whose products stay in a core's cache: twice as fast on a CPU


@dataclass
class TrainingState:
    """The living parts of a run; `step` counts the optimizer steps done."""

    unet: torch.nn.Module
    ema: ExponentialMovingAverage
    optimizer: torch.optim.AdamW
    step: int = 0


def tensor_files(state: TrainingState) -> dict[str, Mapping[str, torch.Tensor]]:
    """Return all tensors that a checkpoint holds of a run, by file and name: the living ones, where they are."""
    return {
        layout.WEIGHTS: module_tensors(state.unet),
        layout.EMA_WEIGHTS: module_tensors(state.ema.module),
        layout.OPTIMIZER: optimizer_tensors(state.unet, state.optimizer),
        **state.ema.profile_tensors(),
    }


def module_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's state, in state-dict order; the living tensors, where they are."""
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}


def optimizer_tensors(module: torch.nn.Module, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
    """Return AdamW's moments by parameter name, and the step it counts; the living tensors, where they are."""
    tensors: dict[str, torch.Tensor] = {}
    parameters = dict(module.named_parameters())
    for moment in MOMENTS:
        for name, parameter in parameters.items():
            # A parameter that is not trained (fourier time embedding), or not yet, has no moments.
            held = optimizer.state.get(parameter, {}).get(moment)
            tensors[moment_name(moment, name)] = torch.zeros_like(parameter) if held is None else held.detach()
    first = next(parameter for parameter in parameters.values() if parameter.requires_grad)
    counted = optimizer.state.get(first, {}).get("step", torch.zeros(()))
    tensors[STEP] = counted.detach().float().reshape(())
    return tensors


@torch.no_grad()
def load_module(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into a module of exactly these names and shapes; raises KeyError or RuntimeError otherwise."""
    held = module.state_dict()
    mine = {name: placed(tensor, held[name]) if name in held else tensor for name, tensor in tensors.items()}
    module.load_state_dict(mine, strict=True, assign=False)


@torch.no_grad()
def load_optimizer(module: torch.nn.Module, optimizer: torch.optim.AdamW, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put the moments back, each in the memory format of its parameter."""
    for name, parameter in module.named_parameters():
        state: dict[str, torch.Tensor] = {"step": tensors[STEP].clone().to(parameter.device)}
        for moment in MOMENTS:
            stored = tensors[moment_name(moment, name)]
            if stored.shape != parameter.shape:  # copy_ would broadcast
                raise RuntimeError(f"{moment} of {name} has shape {tuple(stored.shape)}, not {tuple(parameter.shape)}")
            state[moment] = torch.empty_like(parameter).copy_(placed(stored, parameter))
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
    plain = {name: whole(tensor.detach()).cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path, metadata=_METADATA)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file into memory."""
    return load_file(path)


def weights_sha256(module: torch.nn.Module) -> str:
    """Return the hex SHA-256 over names and checksums of a module's state: the same for equal weights.

    Each block of a tensor is summed up where it lies, as 64-bit words: the upper bits are folded into the lower (or
    differences in signs alone would cancel out), and each is multiplied by an odd number of its own, modulo 2^64. Any
    single difference changes the sum, several cancel out by chance alone. Every save of every rank waits for this, and
    hashing the bytes themselves would take seconds for a large model. Compared between the ranks of a run only:
    another version may define it otherwise.
    """
    digest = hashlib.sha256()
    sums: list[torch.Tensor] = []
    for name, tensor in module_tensors(module).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sums += _checksums(whole(tensor))
    if sums:
        digest.update(torch.stack(sums).cpu().numpy().tobytes())
    return digest.hexdigest()


def _checksums(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    words = _words(tensor)
    for start in range(0, words.numel(), _BLOCK):
        yield _weighted_sum(words[start : start + _BLOCK])


def _words(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.ndim == _PICTURE_DIMENSIONS:
        tensor = tensor.permute(0, 2, 3, 1)  # as most of them lie in memory, which spares a copy
    octets = tensor.contiguous().view(-1).view(torch.uint8)
    missing = -octets.numel() % _WORD_BYTES
    if missing or octets.storage_offset() % _WORD_BYTES:
        octets = torch.nn.functional.pad(octets, (0, missing))
    return octets.view(torch.int64)


def _weighted_sum(block: torch.Tensor) -> torch.Tensor:
    factors = _odd_numbers(block.device)
    length = _STRETCH if block.device.type == "cpu" else _BLOCK  # a GPU loses more by more launches
    parts = []
    for start in range(0, block.numel(), length):
        part = block[start : start + length]
        folded = (part >> _FOLD).bitwise_and_(_FOLDED).bitwise_xor_(part)
        parts.append(folded.mul_(factors[start : start + part.numel()]).sum())
    return torch.stack(parts).sum() if len(parts) > 1 else parts[0]


@functools.cache
def _odd_numbers(device: torch.device) -> torch.Tensor:
    """Fixed numbers without a pattern (the golden ratio's multiples), int64 [_BLOCK], on the device."""
    golden = 0x9E3779B97F4A7C15 - 2**64
    return (torch.arange(_BLOCK, dtype=torch.int64, device=device) * golden) | 1
