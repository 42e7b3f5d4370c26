"""Stored bytes become the parameter they belong to: its dtype, its shape, its numbers, or a named error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import save_file

from t2i_checkpoint.headers.safetensors import read_header
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.tensors import ITEM_BYTES, LOADABLE, StoredTensor
from t2i_trainer.checkpointing.stored_bytes import UnusableTensorError, fill_parameter, read_ahead

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def stored(dtype: str, shape: tuple[int, ...]) -> StoredTensor:
    return StoredTensor(shape, dtype, "model.safetensors", "etag", 0, 0)


@given(
    values=arrays(
        np.float32, array_shapes(min_dims=0, max_dims=4, max_side=4), elements=st.floats(-6e4, 6e4, width=32)
    ),
    narrow=st.sampled_from([("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)]),
)
def test_numbers_survive_in_the_parameters_own_dtype(
    values: NDArray[np.float32], narrow: tuple[str, torch.dtype]
) -> None:
    name, dtype = narrow
    kept = torch.from_numpy(values.copy()).to(dtype)
    raw = kept.reshape(-1).view(torch.uint8).numpy().tobytes() if kept.numel() else b""
    target = torch.full(values.shape, 7.0)
    fill_parameter(target, raw, stored(name, values.shape))
    assert torch.equal(target, kept.float())


@pytest.mark.parametrize(
    ("raw", "tensor", "words"),
    [
        (bytes(8), stored("F32", (1, 2)), "shape"),
        (bytes(4), stored("F32", (2,)), "bytes"),
        (bytes(12), stored("F32", (2,)), "bytes"),
        (bytes(16), stored("I64", (2,)), "stored as I64"),
        (bytes(8), stored("C64", (2,)), "stored as C64"),
        (np.array([1, np.inf], np.float32).tobytes(), stored("F32", (2,)), "infinite"),
        (np.array([1e300, 0], np.float64).tobytes(), stored("F64", (2,)), "infinite"),
    ],
    ids=["broadcast", "short", "long", "integers", "complex", "infinite", "overflow"],
)
def test_what_cannot_be_the_parameter_is_refused(raw: bytes, tensor: StoredTensor, words: str) -> None:
    with pytest.raises(UnusableTensorError, match=words):
        fill_parameter(torch.zeros(2), raw, tensor)


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
def test_what_a_verdict_calls_loadable_is_loaded_and_nothing_else(dtype: str) -> None:
    try:
        fill_parameter(torch.full((2,), 7.0), bytes(2 * ITEM_BYTES[dtype]), stored(dtype, (2,)))
    except UnusableTensorError:
        assert dtype not in LOADABLE
    else:
        assert dtype in LOADABLE


def test_the_memory_format_of_the_parameter_is_kept() -> None:
    target = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    values = torch.arange(120.0).reshape(2, 3, 4, 5)
    fill_parameter(target, values.numpy().tobytes(), stored("F32", (2, 3, 4, 5)))
    assert torch.equal(target, values)
    assert target.is_contiguous(memory_format=torch.channels_last)


def test_tensors_come_in_the_order_that_they_are_asked_for(tmp_path: Path) -> None:
    tensors = {f"t{number}": torch.full((2,), float(number)) for number in range(20)}
    save_file(tensors, tmp_path / "model.safetensors")
    store = LocalStore(tmp_path)
    (info,) = store.list("")
    table = read_header(store, info, expected_bytes=4096).tensors
    asked = {f"t{number}": table[f"t{number}"] for number in reversed(range(20))}
    read = list(read_ahead(store, asked))
    assert [name for name, _ in read] == list(asked)
    for name, raw in read:
        assert raw == tensors[name].numpy().tobytes()
