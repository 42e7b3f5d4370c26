"""A safetensors file before its bytes: the header, and where each tensor goes; byte for byte what the library writes.

The library serialises into memory of its own. A snapshot is copied once instead, from the device straight to where the
file's bytes are, so the layout has to be known first: tensors by size of their type, then by name, as
https://github.com/huggingface/safetensors writes them (a test holds both against each other).
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_checkpoint.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_trainer.checkpointing.order import ChannelsLast

# In the order in which the library lays them out.
_DTYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_RANK = {dtype: rank for rank, dtype in enumerate(_DTYPES)}
_ALIGNMENT = 8
_METADATA = {"format": "pt"}


@dataclass(frozen=True)
class Place:
    """One tensor's bytes in the file, row-major."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def count(self) -> int:
        """Elements."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class FilePlan:
    """`header` with its eight length bytes; sizes in bytes."""

    header: bytes
    places: tuple[Place, ...]
    size: int

    @functools.cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the names and shapes."""
        return Architecture.from_shapes({place.name: place.shape for place in self.places}).fingerprint()

    def is_for(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether `plan_file` of these tensors gives this very plan: same names, types and shapes."""
        planned = {place.name: (place.dtype, place.shape) for place in self.places}
        return planned == {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


@dataclass(frozen=True)
class LaidFile:
    """A file of `plan` that lies at the path `source`, but for tensors that still lie channels-last there."""

    source: str
    plan: FilePlan
    channels_last: tuple[ChannelsLast, ...] = ()


def plan_file(tensors: Mapping[str, torch.Tensor]) -> FilePlan:
    """Lay out a file of these tensors; raises KeyError for a type that checkpoints do not hold."""
    ordered = sorted(tensors.items(), key=lambda item: (_RANK[item[1].dtype], item[0]))
    table: dict[str, object] = {"__metadata__": _METADATA}
    position = 0
    starts = []
    for name, tensor in ordered:
        end = position + tensor.numel() * tensor.element_size()
        table[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        starts.append(position)
        position = end
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    places = tuple(
        Place(name, tensor.dtype, tuple(tensor.shape), len(header) + start)
        for (name, tensor), start in zip(ordered, starts, strict=True)
    )
    return FilePlan(header, places, len(header) + position)
