"""The `.metadata` of torch.distributed.checkpoint (FSDP, DCP): a pickle of plain records, read as names and blocks.

Classes and fields: torch/distributed/checkpoint/metadata.py, filesystem.py. The blocks themselves lie in `*.distcp`
files beside, each a small file of `torch.save`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.headers.bounded_json import SHOWN
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.limits import MAX_TENSORS
from t2i_checkpoint.headers.pickle_reader import run_pickle
from t2i_checkpoint.headers.pickle_values import Budget, Opaque, Record
from t2i_checkpoint.headers.plain_builder import PlainBuilder
from t2i_checkpoint.headers.torch_builder import DTYPES, MAX_RANK
from t2i_checkpoint.tensors import Chunk, DistributedTensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from t2i_checkpoint.store import ObjectInfo, Store

MAX_METADATA_BYTES = 4 * 1024 * 1024
_METADATA = "torch.distributed.checkpoint.metadata."
_FIELDS = {
    f"{_METADATA}Metadata": ("state_dict_metadata", "storage_data"),
    f"{_METADATA}TensorStorageMetadata": ("properties", "size", "chunks"),
    f"{_METADATA}BytesStorageMetadata": (),
    f"{_METADATA}ChunkStorageMetadata": ("offsets", "sizes"),
    f"{_METADATA}TensorProperties": ("dtype",),
    f"{_METADATA}MetadataIndex": ("fqn", "offset"),
    f"{_METADATA}StorageMeta": (),
    "torch.distributed._shard.sharded_tensor.metadata.TensorProperties": ("dtype",),
    "torch.distributed.checkpoint.filesystem._StorageInfo": ("relative_path", "offset", "length"),
}
_CHUNK_BYTES = 300  # what a block, or its place in the table, takes besides its offsets
BYTES = Opaque(f"{_METADATA}BytesStorageMetadata")


class _MetadataBuilder(PlainBuilder):
    """Builds records of the checkpoint's own classes, and sizes."""

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in _FIELDS and not arguments:
            self._budget.spend(80)
            return Record(name)
        if name == "torch.Size" and len(arguments) == 1:
            size = _sizes(arguments[0])
            if size is not arguments[0]:
                self._budget.spend(56 + 8 * len(size))
            return size
        return super().call(name, arguments)

    def build(self, target: Any, state: Any) -> None:
        if not isinstance(target, Record):
            super().build(target, state)
            return
        fields = _FIELDS[target.name]
        self._budget.spend(56 + 8 * len(fields))
        if isinstance(state, dict):
            target.state = tuple(state.get(field) for field in fields)
        elif isinstance(state, tuple) and len(state) >= len(fields):  # TensorProperties writes no names
            target.state = state[: len(fields)]


def read_distributed(
    store: Store, metadata: ObjectInfo, objects_by_key: Mapping[str, ObjectInfo]
) -> dict[str, DistributedTensor | Opaque]:
    """Return fully qualified name -> tensor, or Opaque for a value that is no tensor; one ranged read.

    `objects_by_key` is the listing, for the files beside. Raises HeaderError or StoreError.
    """
    if metadata.size > MAX_METADATA_BYTES:
        detail = f".metadata has {metadata.size} bytes, at most {MAX_METADATA_BYTES} are read"
        raise HeaderError(HeaderFault.PICKLE_TOO_LARGE, detail)
    raw = store.read(metadata.key, 0, metadata.size, etag=metadata.etag)
    folder = metadata.key.rpartition("/")[0]
    return parse_metadata(raw, folder, objects_by_key)


def parse_metadata(
    raw: bytes, folder: str, objects_by_key: Mapping[str, ObjectInfo]
) -> dict[str, DistributedTensor | Opaque]:
    """Read the pickle and match every block with its byte range; `folder` is that of `.metadata`."""
    budget = Budget()
    # Records are read by their fields alone, so nothing walks the value as a tree.
    root = run_pickle(raw, _MetadataBuilder(budget), budget)
    entries, stored = _fields(root, "Metadata")
    if not isinstance(entries, dict) or not isinstance(stored, dict):
        raise _invalid("state_dict_metadata and storage_data are no dictionaries")
    if len(entries) > MAX_TENSORS or len(stored) > 2 * MAX_TENSORS:
        raise HeaderError(HeaderFault.TOO_MANY_TENSORS, f"more than {MAX_TENSORS} tensors")
    ranges: _Ranges = {}
    for place, found in _ranges(stored, folder, objects_by_key):
        budget.spend(_CHUNK_BYTES + len(place[1]))
        ranges[place] = found
    return {_name(name): _entry(name, entry, ranges, budget) for name, entry in entries.items()}


_Place = tuple[str, str]
_Range = tuple[str, str, int, int]
_Ranges = dict[_Place, _Range]


def _ranges(
    stored: dict[Any, Any], folder: str, objects_by_key: Mapping[str, ObjectInfo]
) -> Iterable[tuple[_Place, _Range]]:
    for index, place in stored.items():
        name, offsets = _fields(index, "MetadataIndex")
        path, *place_in_file = _fields(place, "_StorageInfo")
        if not isinstance(path, str):
            raise _invalid("a block's file is no text")
        start, length = _sizes(place_in_file)
        info = objects_by_key.get(f"{folder}/{path}" if folder else path)
        if info is None:
            raise HeaderError(HeaderFault.SHARD_MISSING, f"{path[:SHOWN]!r} is named by .metadata and not there")
        if start + length > info.size:
            detail = f"{path[:SHOWN]!r} has {info.size} bytes, a block claims {start}..{start + length}"
            raise HeaderError(HeaderFault.FILE_SIZE_DIFFERS, detail, is_short=True)
        yield _place(_name(name), offsets), (info.key, info.etag, start, length)


def _entry(name: str, entry: Any, ranges: _Ranges, budget: Budget) -> DistributedTensor | Opaque:
    if isinstance(entry, Record) and entry.name == BYTES.name:
        return BYTES
    properties, size, chunks = _fields(entry, "TensorStorageMetadata")
    shape = _sizes(size)
    if not isinstance(chunks, list):
        raise _invalid(f"{name[:SHOWN]!r} has no list of blocks")
    budget.spend(_CHUNK_BYTES * (1 + len(chunks)))  # one list may stand for the blocks of many tensors
    built = tuple(_chunk(name, shape, chunk, ranges) for chunk in chunks)
    # Blocks are disjoint parts of the tensor, so equal counts mean that nothing is missing.
    if math.prod(shape) != sum(math.prod(chunk.sizes) for chunk in built):
        raise _invalid(f"{name[:SHOWN]!r}: its blocks are not the whole tensor")
    return DistributedTensor(shape, _dtype(properties), built)


def _chunk(name: str, shape: tuple[int, ...], chunk: Any, ranges: _Ranges) -> Chunk:
    offsets, sizes = (_sizes(found) for found in _fields(chunk, "ChunkStorageMetadata"))
    fits = len(offsets) == len(sizes) == len(shape)
    if not fits or any(o + s > whole for o, s, whole in zip(offsets, sizes, shape, strict=True)):
        raise _invalid(f"{name[:SHOWN]!r}: a block lies outside the tensor")
    place = ranges.get(_place(name, offsets))
    if place is None:
        raise _invalid(f"{name[:SHOWN]!r}: no file is told for its block at {str(offsets)[:SHOWN]}")
    return Chunk(offsets, sizes, *place)


def _place(name: str, offset: Any) -> _Place:
    # The offsets as text, because hashes of tuples of numbers can be chosen to be equal.
    return name, "" if offset is None else str(list(_sizes(offset)))


def _dtype(properties: Any) -> str:
    (found,) = _fields(properties, "TensorProperties")
    dtype = DTYPES.get(found.name.removeprefix("torch.")) if isinstance(found, Opaque) else None
    if dtype is None:
        raise HeaderError(HeaderFault.DTYPE_UNKNOWN, "a tensor's properties name no dtype that is known")
    return dtype


def _fields(value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, Record) or value.name.rpartition(".")[2] != name:
        raise _invalid(f"a {type(value).__name__} where a {name} belongs")
    if value.state is None:
        raise _invalid(f"a {name} without fields")
    return value.state


def _sizes(found: Any) -> tuple[int, ...]:
    is_sequence = isinstance(found, tuple | list) and len(found) <= MAX_RANK
    if not is_sequence or not all(type(item) is int and 0 <= item < 2**63 for item in found):
        raise HeaderError(HeaderFault.SHAPE_INVALID, "a size, offset or length is no whole number")
    return tuple(found)


def _name(found: Any) -> str:
    if not isinstance(found, str):
        raise _invalid(f"a {type(found).__name__} where a tensor's name belongs")
    return found


def _invalid(detail: str) -> HeaderError:
    return HeaderError(HeaderFault.DISTRIBUTED_INVALID, detail)
