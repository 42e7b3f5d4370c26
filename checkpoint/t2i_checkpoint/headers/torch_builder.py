"""What torch's own names stand for in a `data.pkl`: tensors become the place of their bytes, everything else is plain.

Names and arguments: torch/_utils.py and torch/serialization.py (`_rebuild_tensor_v2`, `persistent_id`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.headers.bounded_json import SHOWN
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.limits import MAX_TENSORS
from t2i_checkpoint.headers.pickle_values import Budget, Opaque
from t2i_checkpoint.headers.plain_builder import PlainBuilder
from t2i_checkpoint.strides import extent, is_row_major
from t2i_checkpoint.tensors import ITEM_BYTES, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.headers.zip_directory import Member
    from t2i_checkpoint.store import ObjectInfo

MAX_RANK = 64  # torch's own limit
_MAX_ARGUMENTS = 16
_NOT_KNOWN = object()
UNKNOWN_TENSOR = Opaque("torch.Tensor")

DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "complex128": "C128",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}
_TYPED_STORAGES = {
    "BoolStorage": "BOOL",
    "ByteStorage": "U8",
    "CharStorage": "I8",
    "ShortStorage": "I16",
    "IntStorage": "I32",
    "LongStorage": "I64",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}
_UNTYPED_STORAGES = frozenset({"UntypedStorage", "_UntypedStorage"})


@dataclass(frozen=True, slots=True)
class StorageReference(Opaque):
    """A storage that a persistent id names: its member in the archive, and its dtype where it has a known one."""

    member: Member
    dtype: str | None
    is_untyped: bool


class TorchBuilder(PlainBuilder):
    """Builds the values of one archive, whose storages are `<root>/data/<key>`."""

    def __init__(self, info: ObjectInfo, root: str, members: Mapping[str, Member], budget: Budget) -> None:
        super().__init__(budget)
        self._info = info
        self._root = root
        self._members = members
        self._tensors = 0

    def persistent(self, identity: Any) -> StorageReference:
        """Resolve ('storage', class, key, location, number of elements) and compare it with the member's size."""
        match identity:
            case ("storage", Opaque(name=name), str(key), str(), int(count)) if type(count) is int and count >= 0:
                pass
            case _:
                raise HeaderError(HeaderFault.PICKLE_INVALID, "a persistent id that is no storage of torch")
        member = self._members.get(f"{self._root}/data/{key}")
        if member is None:
            raise HeaderError(HeaderFault.TENSOR_INVALID, f"storage {key[:SHOWN]!r} is not in the archive")
        package, _, kind = name.rpartition(".")
        if package.partition(".")[0] != "torch" or not kind.endswith("Storage"):
            raise HeaderError(HeaderFault.PICKLE_INVALID, f"{name} is no class of storages")
        dtype = _TYPED_STORAGES.get(kind)
        is_untyped = kind in _UNTYPED_STORAGES
        item = 1 if is_untyped else ITEM_BYTES[dtype] if dtype else None
        if item is not None and count * item != member.size:
            detail = f"{member.name[:SHOWN]!r} has {member.size} bytes, {count} elements of {kind} are claimed"
            raise HeaderError(HeaderFault.ZIP_SIZE_DIFFERS, detail)
        return StorageReference(name, member, dtype, is_untyped)

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Build tensors and sizes; everything else as for any pickle."""
        if len(arguments) <= _MAX_ARGUMENTS:  # before patterns copy them: a long tuple may be used often
            built = self._known(name, arguments)
            if built is not _NOT_KNOWN:
                return built
        return super().call(name, arguments)

    def _known(self, name: str, arguments: tuple[Any, ...]) -> Any:
        match name, arguments:
            case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", (
                storage,
                offset,
                size,
                stride,
                *rest,
            ):
                return self._tensor(storage, None, (offset, size, stride), rest[2:])
            case "torch._utils._rebuild_tensor_v3", (storage, offset, size, stride, _, _, Opaque(name=dtype), *rest):
                return self._tensor(storage, dtype, (offset, size, stride), rest)
            case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", (data, *_):
                return _tensor_like(data)
            case "torch._tensor._rebuild_from_type_v2", (Opaque(name=inner), _, tuple() as inner_arguments, _):
                if inner != name:  # one wrapper, as torch writes it: no recursion at a stranger's word
                    return self.call(inner, inner_arguments)
            case "torch.Size", (list() | tuple() as size,) if len(size) <= MAX_RANK:
                self._budget.spend(56 + 8 * len(size))
                return tuple(size)
        return _NOT_KNOWN

    def build(self, target: Any, state: Any) -> None:
        """Ignore a tensor's attributes as well."""
        if not isinstance(target, StoredTensor):
            super().build(target, state)

    def _tensor(self, storage: Any, dtype_name: str | None, place: tuple[Any, Any, Any], flags: list[Any]) -> Any:
        if not isinstance(storage, StorageReference):
            raise HeaderError(HeaderFault.TENSOR_INVALID, f"a tensor over a {type(storage).__name__}")
        if storage.is_untyped != (dtype_name is not None):
            raise HeaderError(HeaderFault.TENSOR_INVALID, "a tensor without a dtype, or with two")
        self._tensors += 1
        if self._tensors > MAX_TENSORS:
            raise HeaderError(HeaderFault.TOO_MANY_TENSORS, f"more than {MAX_TENSORS} tensors")
        dtype = storage.dtype if dtype_name is None else DTYPES.get(dtype_name.removeprefix("torch."))
        if dtype is None or any(flags):  # `flags`: bits that say "conjugate" or "negate on reading"
            return UNKNOWN_TENSOR
        offset, shape, stride = _place(*place)
        member = storage.member
        needed = extent(shape, stride, offset) * ITEM_BYTES[dtype]
        if needed > member.size:
            detail = (
                f"{dtype} of shape {list(shape)} needs {needed} bytes of {member.name[:SHOWN]!r} with {member.size}"
            )
            raise HeaderError(HeaderFault.TENSOR_INVALID, detail[: 4 * SHOWN])
        self._budget.spend(300 + 80 * len(shape))
        return StoredTensor(
            shape=shape,
            dtype=dtype,
            key=self._info.key,
            etag=self._info.etag,
            offset=member.offset,
            length=member.size,
            zip_member=member.name,
            storage_offset=offset,
            stride=None if is_row_major(shape, stride) else stride,
        )


def _tensor_like(data: Any) -> Any:
    if not isinstance(data, StoredTensor) and data != UNKNOWN_TENSOR:
        raise HeaderError(HeaderFault.TENSOR_INVALID, f"a parameter made of a {type(data).__name__}")
    return data


def _place(offset: Any, size: Any, stride: Any) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    if not (_are_sizes(size) and _are_sizes(stride) and len(size) == len(stride) and _are_sizes((offset,))):
        raise HeaderError(HeaderFault.SHAPE_INVALID, "a tensor's offset, size or stride is not what it must be")
    if math.prod(item for item in size if item) >= 2**63:
        raise HeaderError(HeaderFault.SHAPE_INVALID, "a tensor of more elements than can be counted")
    return offset, tuple(size), tuple(stride)


def _are_sizes(found: Any) -> bool:
    is_sequence = isinstance(found, tuple) and len(found) <= MAX_RANK
    return is_sequence and all(type(item) is int and 0 <= item < 2**63 for item in found)
