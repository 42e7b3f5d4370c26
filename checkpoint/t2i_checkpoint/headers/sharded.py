"""A model split over several files: `*.safetensors.index.json` or `*.bin.index.json`, and the header of every shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.headers.bounded_json import SHOWN, parse_object
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.limits import MAX_TENSORS
from t2i_checkpoint.headers.safetensors import MAX_HEADER_BYTES, read_header
from t2i_checkpoint.headers.torch_zip import read_torch_zip
from t2i_checkpoint.tensors import StoredTensor, architecture_of_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.store import ObjectInfo, Store

SAFETENSORS_INDEX, TORCH_INDEX = ".safetensors.index.json", ".bin.index.json"
MAX_SHARDS = 64
_SHARDS = (".safetensors", ".bin")


def parse_index(raw: bytes) -> dict[str, str]:
    """Return parameter name -> shard file name (a plain name beside the index)."""
    weight_map = parse_object(raw).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise HeaderError(HeaderFault.INDEX_INVALID, "weight_map is missing or empty")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or "/" in shard or not shard.endswith(_SHARDS):
            raise HeaderError(HeaderFault.INDEX_INVALID, f"{name[:SHOWN]!r} is in {str(shard)[:SHOWN]!r}")
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise HeaderError(HeaderFault.INDEX_INVALID, f"names more than {MAX_SHARDS} files")
    return weight_map


def read_sharded(
    store: Store, index: ObjectInfo, objects: Mapping[str, ObjectInfo], *, expected_bytes: int
) -> Architecture:
    """Read index and shard headers as one architecture; see `read_sharded_tensors`."""
    return architecture_of_table(read_sharded_tensors(store, index, objects, expected_bytes=expected_bytes))


def read_sharded_tensors(
    store: Store, index: ObjectInfo, objects: Mapping[str, ObjectInfo], *, expected_bytes: int
) -> dict[str, StoredTensor]:
    """Read index and shard headers; `objects` is the listing by key. The order is the index's.

    `expected_bytes` guesses one shard's header. Raises HeaderError or StoreError.
    """
    if index.size > MAX_HEADER_BYTES:
        raise HeaderError(HeaderFault.HEADER_TOO_LARGE, f"the index has {index.size} bytes")
    weight_map = parse_index(store.read(index.key, 0, index.size, etag=index.etag))
    folder = index.key.rpartition("/")[0]
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(weight_map.values())):
        info = objects.get(f"{folder}/{shard}" if folder else shard)
        if info is None:
            raise HeaderError(HeaderFault.SHARD_MISSING, f"{shard} is named by the index and not there")
        for name, tensor in _shard(store, info, expected_bytes).items():
            if weight_map.get(name) != shard:
                raise HeaderError(
                    HeaderFault.INDEX_INVALID, f"{name[:SHOWN]!r} is in {shard}, the index says otherwise"
                )
            tensors[name] = tensor
        if len(tensors) > MAX_TENSORS:
            raise HeaderError(HeaderFault.TOO_MANY_TENSORS, f"more than {MAX_TENSORS} tensors in all shards")
    if absent := set(weight_map) - set(tensors):
        raise HeaderError(HeaderFault.INDEX_INVALID, f"{min(absent)[:SHOWN]!r} is in no shard")
    return {name: tensors[name] for name in weight_map}


def _shard(store: Store, info: ObjectInfo, expected_bytes: int) -> Mapping[str, StoredTensor]:
    if info.key.endswith(".safetensors"):
        return read_header(store, info, expected_bytes=expected_bytes).tensors
    tree = read_torch_zip(store, info, expected_bytes=expected_bytes)
    if not isinstance(tree, dict):
        raise HeaderError(HeaderFault.INDEX_INVALID, f"{info.key} holds no state dict")
    return {name: tensor for name, tensor in tree.items() if isinstance(tensor, StoredTensor)}
