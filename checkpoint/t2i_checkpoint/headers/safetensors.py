"""The header of a safetensors file: length, JSON table of tensors, and every check that the format allows.

Format: https://github.com/huggingface/safetensors#format - 8 bytes little-endian length N, N bytes of JSON, then the
data without holes. Nothing of the data is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.headers.bounded_json import SHOWN, parse_object
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.limits import MAX_TENSORS
from t2i_checkpoint.tensors import StoredTensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.store import ObjectInfo, Store

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 4 * 1024 * 1024  # ten times SDXL's; bounds memory before anything is believed
_MAX_RANK = 16
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_METADATA = "__metadata__"


@dataclass(frozen=True)
class SafetensorsHeader:
    """Names, shapes and dtypes in data order, the free-form metadata, and the header's own length in bytes.

    `tensors` has the same names in the same order with the place of their bytes in the file.
    """

    architecture: Architecture
    metadata: Mapping[str, str]
    header_bytes: int
    tensors: Mapping[str, StoredTensor]


def read_header(store: Store, info: ObjectInfo, *, expected_bytes: int) -> SafetensorsHeader:
    """Read and check a file's header: one ranged read if it is no longer than `expected_bytes`, otherwise two.

    Raises HeaderError, or StoreError where the store fails; `expected_bytes` is a guess and never believed.
    """
    first = store.read(info.key, 0, LENGTH_BYTES + min(max(expected_bytes, 0), MAX_HEADER_BYTES), etag=info.etag)
    length = header_length(first[:LENGTH_BYTES], file_size=info.size)
    raw = first[LENGTH_BYTES : LENGTH_BYTES + length]
    if len(raw) < length:
        raw += store.read(info.key, LENGTH_BYTES + len(raw), length - len(raw), etag=info.etag)
    return parse_header(raw, length=length, file_size=info.size, key=info.key, etag=info.etag)


def header_length(prefix: bytes, *, file_size: int) -> int:
    """Return the JSON's length from the first 8 bytes, bounded by our limit and by the file itself."""
    if len(prefix) < LENGTH_BYTES or file_size < LENGTH_BYTES:
        raise HeaderError(HeaderFault.HEADER_TRUNCATED, f"the file has {file_size} bytes, a header at least 10")
    if prefix == b"version ":
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, "a git-lfs pointer; fetch the file itself with `git lfs pull`")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise HeaderError(HeaderFault.HEADER_TOO_LARGE, f"claims {length} bytes, at most {MAX_HEADER_BYTES} are read")
    if LENGTH_BYTES + length > file_size:
        raise HeaderError(HeaderFault.HEADER_TRUNCATED, f"claims {length} bytes in a file of {file_size}")
    return length


def parse_header(raw: bytes, *, length: int, file_size: int, key: str, etag: str) -> SafetensorsHeader:
    """Check the JSON table against the format and the file's size, both in bytes; `key` and `etag` are the file's."""
    if len(raw) != length:
        raise HeaderError(HeaderFault.HEADER_TRUNCATED, f"{len(raw)} of {length} header bytes came")
    if not raw.startswith(b"{"):
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, "does not begin with '{'")
    table = parse_object(raw)
    metadata = _metadata(table.pop(_METADATA, {}))
    if len(table) > MAX_TENSORS:
        raise HeaderError(HeaderFault.TOO_MANY_TENSORS, f"{len(table)} tensors, at most {MAX_TENSORS} are read")
    tensors = sorted((_tensor(name, entry) for name, entry in table.items()), key=lambda item: item.span)
    position = 0
    for tensor in tensors:
        begin, end = tensor.span
        if begin != position:
            what = "overlaps the one before" if begin < position else "leaves a hole before it"
            detail = f"{tensor.name[:SHOWN]!r} at {begin}..{end} {what}"
            raise HeaderError(HeaderFault.OFFSETS_INVALID, detail)
        position = end
    data_bytes = file_size - LENGTH_BYTES - length
    if position != data_bytes:
        what = "is cut short" if position > data_bytes else "carries more than its header tells"
        detail = f"the file {what}: tensors need {position} bytes, {data_bytes} are there"
        raise HeaderError(HeaderFault.FILE_SIZE_DIFFERS, detail, is_short=position > data_bytes)
    start = LENGTH_BYTES + length
    return SafetensorsHeader(
        architecture=Architecture((t.name, t.parameter) for t in tensors),
        metadata=metadata,
        header_bytes=start,
        tensors={t.name: _stored(t, start, key, etag) for t in tensors},
    )


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    parameter: Parameter
    dtype: str
    span: tuple[int, int]


def _metadata(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise HeaderError(HeaderFault.ENTRY_INVALID, "__metadata__ is no map of strings")
    return found


def _tensor(name: str, entry: Any) -> _Tensor:
    shown = repr(name[:SHOWN])
    if not isinstance(entry, dict) or not entry.keys() >= {"dtype", "shape", "data_offsets"}:
        raise HeaderError(HeaderFault.ENTRY_INVALID, f"{shown} is not dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise HeaderError(HeaderFault.DTYPE_UNKNOWN, f"{shown} has dtype {str(dtype)[:SHOWN]!r}")
    if not _are_sizes(shape) or len(shape) > _MAX_RANK:
        raise HeaderError(HeaderFault.SHAPE_INVALID, f"{shown} has shape {str(shape)[:SHOWN]}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004  # begin and end
        raise HeaderError(HeaderFault.OFFSETS_INVALID, f"{shown} has data_offsets {str(offsets)[:SHOWN]}")
    needed, given = math.prod(shape) * bits, (offsets[1] - offsets[0]) * 8
    if needed != given:
        detail = f"{shown}: {dtype} of shape {shape} needs {needed // 8} bytes, its offsets give {given // 8}"
        raise HeaderError(HeaderFault.OFFSETS_INVALID, detail)
    return _Tensor(name, Parameter(tuple(shape), dtype), dtype, (offsets[0], offsets[1]))


def _stored(tensor: _Tensor, start: int, key: str, etag: str) -> StoredTensor:
    begin, end = tensor.span
    return StoredTensor(tensor.parameter.shape, tensor.dtype, key, etag, start + begin, end - begin)


def _are_sizes(found: Any) -> bool:
    return isinstance(found, list) and all(type(item) is int and 0 <= item < 2**63 for item in found)
