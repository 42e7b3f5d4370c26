"""Where a checkpoint's tensors lie, and their bytes: what every format is reduced to once its header was read.

Stands between the header readers, which fill it, and load plans, which read tensors one by one. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor's bytes are; nothing of them was read.

    `dtype` in safetensors' spelling (`F32`, `BF16`; `C128` besides). `key` is the object's, relative to the store's
    root. `offset` is that of the data (safetensors) or of the zip member's local header (`zip_member` is set then);
    `length` the storage's bytes in the file. `storage_offset` and `stride` count elements; no stride: row-major.
    """

    shape: tuple[int, ...]
    dtype: str
    key: str
    etag: str
    offset: int
    length: int
    zip_member: str | None = None
    storage_offset: int = 0
    stride: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A block of a distributed tensor: where it sits in the tensor, and the byte range that holds it (key in store)."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    key: str
    etag: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class DistributedTensor:
    """A tensor that torch.distributed.checkpoint wrote in blocks, usually one a rank."""

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[Chunk, ...]


AnyTensor: TypeAlias = StoredTensor | DistributedTensor
TensorTable: TypeAlias = Mapping[str, AnyTensor]


def architecture_of_table(table: TensorTable) -> Architecture:
    """Return names, shapes and dtypes, in the table's order."""
    return Architecture((name, Parameter(tensor.shape, tensor.dtype)) for name, tensor in table.items())


def read_tensor(store: Store, tensor: AnyTensor) -> bytes:
    """Return the tensor's elements: row-major, little-endian, exactly `shape` times `dtype`; strides are resolved.

    Raises HeaderError where the file is not what its header told, or the format cannot be read (distributed tensors),
    and StoreError where the store fails or the object was replaced.
    """
    raise NotImplementedError((store, tensor, HeaderError, HeaderFault))
