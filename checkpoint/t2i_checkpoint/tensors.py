"""Where a checkpoint's tensors lie, and their bytes: what every format is reduced to once its header was read.

Stands between the header readers, which fill it, and load plans, which read tensors one by one. Nothing is unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.zip_directory import LOCAL_HEADER_BYTES, PADDING_BYTES, Member, parse_local_header
from t2i_checkpoint.strides import extent, gather, row_major

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store

_MAX_BROADCAST_BYTES = 64 * 1024 * 1024  # a tensor may repeat its storage, but not without bound
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
    "C128": 16,
}
LOADABLE = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})  # what the trainer can put into a model


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor's bytes are; nothing of them was read.

    `dtype` in safetensors' spelling (`F32`, `BF16`; `C128` besides). `key` is the object's, relative to the store's
    root. `offset` is that of the data (safetensors) or of the zip member's local header (`zip_member` is set then);
    `length` the storage's bytes in the file. `storage_offset` and `stride` count elements; without a stride they lie
    row-major from the storage offset on.
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

    One request where the tensor is its whole storage, two where it is a part. Raises HeaderError where the file is not
    what its header told, or the format cannot be read (distributed tensors), and StoreError where the store fails or
    the object was replaced.
    """
    if isinstance(tensor, DistributedTensor):
        way_out = "Convert it where you trust it with torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
        raise HeaderError(HeaderFault.DISTRIBUTED_NOT_READABLE, f"a tensor in blocks of several ranks. {way_out}")
    if tensor.zip_member is None:
        return _exactly(store, tensor, tensor.offset, tensor.length)
    item = ITEM_BYTES[tensor.dtype]
    count = math.prod(tensor.shape)
    if not count:
        return b""
    if count * item > max(tensor.length, _MAX_BROADCAST_BYTES):
        detail = f"{count} elements out of {tensor.length} bytes: a repeated tensor of this size is not read"
        raise HeaderError(HeaderFault.TENSOR_INVALID, detail)
    stride = tensor.stride or row_major(tensor.shape)
    start, end = tensor.storage_offset * item, extent(tensor.shape, stride, tensor.storage_offset) * item
    if end > tensor.length:
        raise HeaderError(HeaderFault.TENSOR_INVALID, f"needs {end} bytes of a storage of {tensor.length}")
    raw = _of_member(store, tensor, start, end)
    return raw if tensor.stride is None else gather(raw, item, tensor.shape, stride)


def _of_member(store: Store, tensor: StoredTensor, start: int, end: int) -> bytes:
    """Return bytes `start` to `end` of a zip member whose local header begins at the tensor's offset."""
    member = Member(tensor.zip_member or "", tensor.offset, tensor.length)
    least = LOCAL_HEADER_BYTES + len(member.name.encode())
    is_whole = end - start == tensor.length
    window = store.read(
        tensor.key, tensor.offset, least + PADDING_BYTES + (tensor.length if is_whole else 0), etag=tensor.etag
    )
    data = parse_local_header(window, member)
    if is_whole and data + tensor.length <= len(window):
        return window[data : data + tensor.length]
    return _exactly(store, tensor, tensor.offset + data + start, end - start)


def _exactly(store: Store, tensor: StoredTensor, start: int, length: int) -> bytes:
    raw = store.read(tensor.key, start, length, etag=tensor.etag)
    if len(raw) != length:
        raise HeaderError(HeaderFault.HEADER_TRUNCATED, f"{len(raw)} of {length} bytes at {start} came")
    return raw
