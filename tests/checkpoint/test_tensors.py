"""Bytes of stored tensors: exactly what numpy and safetensors give, whatever the strides; lies about size refused."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.safetensors import read_header
from t2i_checkpoint.headers.sharded import read_sharded_tensors
from t2i_checkpoint.strides import extent, gather, is_row_major, row_major
from t2i_checkpoint.tensors import StoredTensor, architecture_of_table, read_tensor

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store

SIZES = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}


@given(
    st.sampled_from(sorted(SIZES)),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 7)), max_size=4),
    st.integers(0, 3),
)
def test_any_strides_give_what_numpy_gives(item: int, axes: list[tuple[int, int]], offset: int) -> None:
    shape, stride = tuple(size for size, _ in axes), tuple(step for _, step in axes)
    count = extent(shape, stride, offset)
    storage = np.random.default_rng(count).bytes(count * item)
    array: np.ndarray[Any, Any] = np.frombuffer(storage, SIZES[item])
    view = np.lib.stride_tricks.as_strided(array[offset:], shape, [step * item for step in stride])
    assert gather(storage[offset * item :], item, shape, stride) == view.tobytes()
    assert is_row_major(shape, stride) == view.flags.c_contiguous


@given(st.lists(st.integers(0, 4), max_size=4))
def test_row_major_strides_are_row_major(shape: list[int]) -> None:
    assert is_row_major(shape, row_major(shape))
    assert extent(shape, row_major(shape), 0) == math.prod(shape)


def test_a_large_convolution_in_channels_last_takes_no_time() -> None:
    weight = np.random.default_rng(1).bytes(320 * 640 * 9 * 4)
    array = np.frombuffer(weight, np.uint32).reshape(320, 3, 3, 640).transpose(0, 3, 1, 2)
    stride = tuple(step // 4 for step in array.strides)
    assert gather(weight, 4, array.shape, stride) == array.tobytes()


def test_tensors_of_safetensors_are_read_from_their_place(store: Store) -> None:
    arrays = {
        "b": np.arange(6, dtype="f4").reshape(2, 3),
        "a": np.arange(3, dtype="i8"),
        "none": np.zeros((0, 2), "f2"),
    }
    store.put("m.safetensors", save(arrays))
    info = store.head("m.safetensors")
    assert info is not None
    header = read_header(store, info, expected_bytes=1000)
    assert architecture_of_table(header.tensors) == header.architecture
    assert {name: read_tensor(store, tensor) for name, tensor in header.tensors.items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_tensors_of_a_model_in_several_files_are_read_from_theirs(store: Store) -> None:
    store.put("one.safetensors", save({"a": np.ones(3, "f4")}))
    store.put("two.safetensors", save({"b": np.full(2, 7, "i4")}))
    store.put("m.safetensors.index.json", b'{"weight_map": {"b": "two.safetensors", "a": "one.safetensors"}}')
    objects = {info.key: info for info in store.list("")}
    table = read_sharded_tensors(store, objects["m.safetensors.index.json"], objects, expected_bytes=100)
    assert list(table) == ["b", "a"]
    assert read_tensor(store, table["b"]) == np.full(2, 7, "i4").tobytes()
    assert read_tensor(store, table["a"]) == np.ones(3, "f4").tobytes()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"length": 2**40}, HeaderFault.HEADER_TRUNCATED),
        ({"offset": 2**40}, HeaderFault.HEADER_TRUNCATED),
        ({"zip_member": "archive/data/0"}, HeaderFault.ZIP_INVALID),
        ({"zip_member": "x", "shape": (2**40,), "stride": (0,)}, HeaderFault.TENSOR_INVALID),
        ({"zip_member": "x", "shape": (7,)}, HeaderFault.TENSOR_INVALID),
        ({"zip_member": "x", "storage_offset": 1}, HeaderFault.TENSOR_INVALID),
    ],
)
def test_places_that_the_file_does_not_have_are_refused(
    store: Store, change: dict[str, object], fault: HeaderFault
) -> None:
    store.put("w", bytes(100))
    info = store.head("w")
    assert info is not None
    tensor = StoredTensor((6,), "F32", "w", info.etag, 8, 24)
    assert read_tensor(store, tensor) == bytes(24)
    with pytest.raises(HeaderError) as caught:
        read_tensor(store, dataclasses.replace(tensor, **change))  # type: ignore[arg-type]
    assert caught.value.fault is fault
