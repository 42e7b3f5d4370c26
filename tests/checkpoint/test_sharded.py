"""A model in several files is the union of their headers, and only if index and headers agree."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.sharded import MAX_SHARDS, parse_index, read_sharded, read_sharded_tensors
from t2i_checkpoint.tensors import read_tensor

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def put_shards(store: Store, weight_map: Any, *, shards: tuple[str, ...] = (ONE, TWO)) -> tuple[Any, Any]:
    content: dict[str, dict[str, Any]] = {ONE: {"a": np.zeros((2, 3), "f4")}, TWO: {"b": np.zeros(4, "f4")}}
    for shard in shards:
        store.put(f"m/{shard}", save(content[shard]))
    store.put("m/model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": weight_map}).encode())
    objects = {info.key: info for info in store.list("m/")}
    return objects["m/model.safetensors.index.json"], objects


def test_the_shards_together_are_the_model_in_the_indexs_order(store: Store) -> None:
    index, objects = put_shards(store, {"b": TWO, "a": ONE})
    architecture = read_sharded(store, index, objects, expected_bytes=1000)
    assert [(name, p.shape) for name, p in architecture.parameters.items()] == [("b", (4,)), ("a", (2, 3))]


@pytest.mark.parametrize(
    ("weight_map", "shards", "fault"),
    [
        ({"a": ONE, "b": TWO}, (ONE,), HeaderFault.SHARD_MISSING),
        ({"a": ONE, "b": ONE}, (ONE, TWO), HeaderFault.INDEX_INVALID),
        ({"a": ONE, "b": TWO, "c": TWO}, (ONE, TWO), HeaderFault.INDEX_INVALID),
        ({"a": ONE, "c": TWO}, (ONE, TWO), HeaderFault.INDEX_INVALID),
        ({"a": "../other/" + ONE}, (ONE, TWO), HeaderFault.INDEX_INVALID),
        ({"a": 1}, (ONE, TWO), HeaderFault.INDEX_INVALID),
        ({}, (ONE, TWO), HeaderFault.INDEX_INVALID),
        ([], (ONE, TWO), HeaderFault.INDEX_INVALID),
    ],
)
def test_an_index_that_disagrees_is_refused(
    store: Store, weight_map: Any, shards: tuple[str, ...], fault: HeaderFault
) -> None:
    index, objects = put_shards(store, weight_map, shards=shards)
    with pytest.raises(HeaderError) as caught:
        read_sharded(store, index, objects, expected_bytes=1000)
    assert caught.value.fault is fault


def test_the_number_of_files_is_bounded() -> None:
    many = {f"p{n}": f"model-{n}.safetensors" for n in range(MAX_SHARDS + 1)}
    with pytest.raises(HeaderError, match="more than"):
        parse_index(json.dumps({"weight_map": many}).encode())


def put_torch_shards(store: Store, one: Any, two: Any) -> tuple[Any, Any]:
    for name, state in (("m-00001-of-00002.bin", one), ("m-00002-of-00002.bin", two)):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        store.put(f"m/{name}", buffer.getvalue())
    weight_map = {"b": "m-00002-of-00002.bin", "a": "m-00001-of-00002.bin"}
    store.put("m/m.bin.index.json", json.dumps({"weight_map": weight_map}).encode())
    objects = {info.key: info for info in store.list("m/")}
    return objects["m/m.bin.index.json"], objects


def test_torch_files_are_shards_as_well(store: Store) -> None:
    one, two = torch.arange(6.0).reshape(2, 3), torch.ones(4)
    index, objects = put_torch_shards(store, {"a": one}, {"b": two, "version": 1})
    tensors = read_sharded_tensors(store, index, objects, expected_bytes=1000)
    assert [(name, tensor.shape) for name, tensor in tensors.items()] == [("b", (4,)), ("a", (2, 3))]
    assert read_tensor(store, tensors["a"]) == one.numpy().tobytes()


def test_a_torch_shard_that_is_no_state_dict_is_refused(store: Store) -> None:
    index, objects = put_torch_shards(store, {"a": torch.ones(1)}, [torch.ones(1)])
    with pytest.raises(HeaderError) as caught:
        read_sharded_tensors(store, index, objects, expected_bytes=1000)
    assert caught.value.fault is HeaderFault.INDEX_INVALID
