"""Checkpoints of torch.distributed.checkpoint: names, shapes and blocks from `.metadata` alone, nothing run."""

from __future__ import annotations

import copyreg
import enum
import io
import math
import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.checkpoint.state_dict_saver import save

from t2i_checkpoint.headers.distributed import MAX_METADATA_BYTES, parse_metadata, read_distributed
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.pickle_reader import Opaque
from t2i_checkpoint.store import ObjectInfo
from t2i_checkpoint.tensors import DistributedTensor, architecture_of_table, read_tensor

if TYPE_CHECKING:
    from pathlib import Path

    from t2i_checkpoint.local import LocalStore

FILE = ObjectInfo("dcp/__0_0.distcp", 1000, "e", datetime(2024, 1, 1, tzinfo=UTC))
OBJECTS = {FILE.key: FILE}


def block(offsets: tuple[int, ...], sizes: tuple[int, ...]) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))


def metadata(**changes: Any) -> Metadata:
    """Return what two ranks of FSDP write: `w` in two blocks of rows, and the step as bytes."""
    blocks = [block((0, 0), (2, 3)), block((2, 0), (2, 3))]
    properties = TensorProperties(dtype=torch.bfloat16)
    values: dict[str, Any] = {
        "state_dict_metadata": {
            "model.w": TensorStorageMetadata(properties, torch.Size((4, 3)), blocks),
            "step": BytesStorageMetadata(),
        },
        "planner_data": {"model.w": ("model", "w"), "step": ("step",)},
        "storage_data": {
            MetadataIndex("model.w", (0, 0), 0): _StorageInfo("__0_0.distcp", 0, 400),
            MetadataIndex("model.w", (2, 0), 1): _StorageInfo("__0_0.distcp", 400, 400),
            MetadataIndex("step"): _StorageInfo("__0_0.distcp", 800, 200),
        },
        **changes,
    }
    return Metadata(**values)


def parse(value: Any, protocol: int = 4) -> dict[str, DistributedTensor | Opaque]:
    return parse_metadata(pickle.dumps(value, protocol), "dcp", OBJECTS)


def test_what_the_library_saves_is_read_with_every_name_shape_and_dtype(
    directory_store: LocalStore, tmp_path: Path
) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2).to(torch.float16))
    optimizer = torch.optim.AdamW(model.parameters())
    weights, state = get_state_dict(model, optimizer)
    value = {"model": weights, "optimizer": state, "step": 7, "half": torch.ones(2, dtype=torch.bfloat16)}
    save(value, checkpoint_id=tmp_path / "bucket" / "dcp", no_dist=True)
    objects = {info.key: info for info in directory_store.list("dcp/")}
    before = directory_store.traffic
    tree = read_distributed(directory_store, objects["dcp/.metadata"], objects)
    assert directory_store.traffic.since(before).requests == 1
    tensors = {name: tensor for name, tensor in tree.items() if isinstance(tensor, DistributedTensor)}
    expected = {f"model.{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name: tensors[name].shape for name in expected} == expected
    assert tensors["model.1.weight"].dtype == "F16"
    assert tensors["half"].dtype == "BF16"
    assert isinstance(tree["step"], Opaque)
    architecture = architecture_of_table({name: tensors[name] for name in expected})
    assert architecture.count == sum(parameter.numel() for parameter in model.parameters())
    for tensor in tensors.values():
        assert math.prod(tensor.shape) == sum(math.prod(chunk.sizes) for chunk in tensor.chunks)
        assert all(chunk.offset + chunk.length <= objects[chunk.key].size for chunk in tensor.chunks)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_blocks_of_several_ranks_are_found_in_their_files(protocol: int) -> None:
    tensor = parse(metadata(), protocol)["model.w"]
    assert isinstance(tensor, DistributedTensor)
    assert (tensor.shape, tensor.dtype) == ((4, 3), "BF16")
    assert [(chunk.offsets, chunk.sizes, chunk.offset, chunk.length) for chunk in tensor.chunks] == [
        ((0, 0), (2, 3), 0, 400),
        ((2, 0), (2, 3), 400, 400),
    ]
    assert {(chunk.key, chunk.etag) for chunk in tensor.chunks} == {(FILE.key, FILE.etag)}


class OlderPickler(pickle.Pickler):
    """torch 2.0 had five properties; Python 3.11.0 to 3.11.3 wrote enumerations as getattr(class, name)."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return getattr, (type(value), value.name)
        if isinstance(value, TensorProperties):
            state: Any = TensorProperties.__getstate__(value)  # type: ignore[no-untyped-call]
            return copyreg.__newobj__, (TensorProperties,), state[:5]  # type: ignore[attr-defined]
        return NotImplemented


def test_files_of_older_versions_are_read() -> None:
    buffer = io.BytesIO()
    OlderPickler(buffer, 4).dump(metadata())
    assert b"getattr" in buffer.getvalue()
    tensor = parse_metadata(buffer.getvalue(), "dcp", OBJECTS)["model.w"]
    assert isinstance(tensor, DistributedTensor)
    assert tensor.dtype == "BF16"


def test_reading_a_blockwise_tensor_is_refused_with_the_way_out(directory_store: LocalStore) -> None:
    tensor = parse(metadata())["model.w"]
    assert isinstance(tensor, DistributedTensor)
    with pytest.raises(HeaderError, match="dcp_to_torch_save") as caught:
        read_tensor(directory_store, tensor)
    assert caught.value.fault is HeaderFault.DISTRIBUTED_NOT_READABLE


INVALID = HeaderFault.DISTRIBUTED_INVALID
WHOLE = [block((0, 0), (4, 3))]


def tensor_of(size: Any = (4, 3), blocks: Any = None, dtype: Any = torch.float32) -> dict[str, Any]:
    entry = TensorStorageMetadata(TensorProperties(dtype=dtype), size, WHOLE if blocks is None else blocks)
    return {"state_dict_metadata": {"model.w": entry}}


def stored(*places: Any, offset: Any = (0, 0)) -> dict[str, Any]:
    return {"storage_data": {MetadataIndex("model.w", offset): _StorageInfo(*places)}}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        pytest.param({}, INVALID, id="a dictionary"),
        pytest.param(metadata(storage_data=None), INVALID, id="no storage data"),
        pytest.param(metadata(state_dict_metadata=[]), INVALID, id="no names"),
        pytest.param(metadata(state_dict_metadata={"a": 1}), INVALID, id="a number for a tensor"),
        pytest.param(metadata(state_dict_metadata={1: BytesStorageMetadata()}), INVALID, id="a number for a name"),
        pytest.param(metadata(**tensor_of()), None, id="as it must be"),
        pytest.param(metadata(**tensor_of(size=torch.Size((4, 4)))), INVALID, id="blocks leave a part out"),
        pytest.param(metadata(**tensor_of(size=(3, 3))), INVALID, id="a block outside"),
        pytest.param(metadata(**tensor_of(size=(12,))), INVALID, id="a block of another rank"),
        pytest.param(metadata(**tensor_of(size=(-4, -3))), HeaderFault.SHAPE_INVALID, id="negative"),
        pytest.param(metadata(**tensor_of(size=(4, 2**70))), HeaderFault.SHAPE_INVALID, id="astronomic"),
        pytest.param(metadata(**tensor_of(size=None)), HeaderFault.SHAPE_INVALID, id="no size"),
        pytest.param(metadata(**tensor_of(blocks=7)), INVALID, id="a number for blocks"),
        pytest.param(metadata(**tensor_of(blocks=[7])), INVALID, id="a number for a block"),
        pytest.param(metadata(**tensor_of(blocks=[])), INVALID, id="no blocks"),
        pytest.param(
            metadata(**tensor_of(blocks=[block((0, 1), (4, 2)), block((0, 0), (4, 1))])), INVALID, id="no file"
        ),
        pytest.param(metadata(**tensor_of(dtype=torch.quint8)), HeaderFault.DTYPE_UNKNOWN, id="quantised"),
        pytest.param(metadata(**tensor_of(dtype="float32")), HeaderFault.DTYPE_UNKNOWN, id="dtype as text"),
        pytest.param(metadata(**stored("__1_0.distcp", 0, 1)), HeaderFault.SHARD_MISSING, id="file not there"),
        pytest.param(metadata(**stored("../dcp/__0_0.distcp", 0, 1)), HeaderFault.SHARD_MISSING, id="another folder"),
        pytest.param(metadata(**stored("__0_0.distcp", 900, 101)), HeaderFault.FILE_SIZE_DIFFERS, id="file is short"),
        pytest.param(metadata(**stored("__0_0.distcp", -1, 1)), HeaderFault.SHAPE_INVALID, id="negative offset"),
        pytest.param(metadata(**stored("__0_0.distcp", 0, None)), HeaderFault.SHAPE_INVALID, id="no length"),
        pytest.param(metadata(**stored(7, 0, 1)), INVALID, id="a number for a file"),
        pytest.param(metadata(storage_data={"model.w": _StorageInfo("f", 0, 1)}), INVALID, id="a text for an index"),
        pytest.param(metadata(storage_data={MetadataIndex("w"): 3}), INVALID, id="a number for a place"),
    ],
)
def test_metadata_that_cannot_be_right_is_refused_with_the_reason(value: Any, fault: HeaderFault | None) -> None:
    if fault is None:
        assert isinstance(parse(value)["model.w"], DistributedTensor)
        return
    with pytest.raises(HeaderError) as caught:
        parse(value)
    assert caught.value.fault is fault
    assert len(caught.value.detail) < 400


def test_memory_that_was_never_spent_is_not_given_back() -> None:
    """A size made of a list, used as the arguments of a call, once gave back more than it had cost."""
    foo, size, numbers = b"h\x00", b"h\x01", b"h\x02"
    remembered = b"cfoo\nFoo\nq\x000ctorch\nSize\nq\x010](" + b"K\x01" * 64 + b"eq\x020"
    call = foo + size + numbers + b"\x85RR0"
    with pytest.raises(HeaderError) as caught:
        parse_metadata(b"\x80\x02" + remembered + call * 60_000 + b"]" * 620_000 + b".", "", {})
    assert caught.value.fault is HeaderFault.PICKLE_TOO_LARGE


def test_metadata_larger_than_its_limit_is_not_fetched(directory_store: LocalStore) -> None:
    directory_store.put("dcp/.metadata", bytes(MAX_METADATA_BYTES + 1))
    info = directory_store.head("dcp/.metadata")
    assert info is not None
    before = directory_store.traffic
    with pytest.raises(HeaderError, match="at most"):
        read_distributed(directory_store, info, {})
    assert directory_store.traffic.since(before).bytes_read == 0
