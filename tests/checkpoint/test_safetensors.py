"""Headers of safetensors files: the real library's are read exactly, hostile ones refused with the reason."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.safetensors import MAX_HEADER_BYTES, header_length, parse_header, read_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.headers.safetensors import SafetensorsHeader
    from t2i_checkpoint.store import Store

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def parse(content: bytes) -> SafetensorsHeader:
    length = header_length(content[:8], file_size=len(content))
    return parse_header(content[8 : 8 + length], length=length, file_size=len(content), key="w", etag="e")


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(["<f4", "<f2", "<i8", "|u1", "<f8"]), st.lists(st.integers(0, 3), max_size=4)),
        max_size=6,
    ),
    # safetensors 0.8 writes invalid JSON for no tensors with an empty metadata map.
    st.none() | st.dictionaries(st.text(max_size=4), st.text(max_size=4), min_size=1, max_size=3),
)
def test_what_the_library_writes_is_read_with_every_name_and_shape(
    table: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None
) -> None:
    content = save({name: np.zeros(shape, dtype) for name, (dtype, shape) in table.items()}, metadata)
    header = parse(content)
    shapes = {name: parameter.shape for name, parameter in header.architecture.parameters.items()}
    assert shapes == {name: tuple(shape) for name, (_, shape) in table.items()}
    assert dict(header.metadata) == (metadata or {})
    assert header.header_bytes == 8 + int.from_bytes(content[:8], "little")


@pytest.mark.parametrize(
    ("table", "data", "fault"),
    [
        pytest.param(b"", 0, HeaderFault.HEADER_NOT_JSON, id="empty"),
        pytest.param(b"not json", 0, HeaderFault.HEADER_NOT_JSON, id="no JSON"),
        pytest.param(b'{"a": NaN}', 0, HeaderFault.HEADER_NOT_JSON, id="NaN"),
        pytest.param(b'{"\xff": 1}', 0, HeaderFault.HEADER_NOT_JSON, id="not UTF-8"),
        pytest.param(b'{"a":' + b"[" * 100_000, 0, HeaderFault.HEADER_NOT_JSON, id="nested deeply"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", 0, HeaderFault.HEADER_NOT_JSON, id="a number of 5000 digits"),
        pytest.param([], 0, HeaderFault.HEADER_NOT_JSON, id="a list"),
        pytest.param(b'{"a":%s,"a":%s}' % ((json.dumps(F32).encode(),) * 2), 8, HeaderFault.DUPLICATE_KEY, id="twice"),
        pytest.param({"a": 1}, 0, HeaderFault.ENTRY_INVALID, id="entry is a number"),
        pytest.param({"a": {"dtype": "F32", "shape": [2]}}, 8, HeaderFault.ENTRY_INVALID, id="fewer fields"),
        pytest.param({"__metadata__": {"a": 1}}, 0, HeaderFault.ENTRY_INVALID, id="metadata of numbers"),
        pytest.param({"__metadata__": []}, 0, HeaderFault.ENTRY_INVALID, id="metadata is a list"),
        pytest.param({"a": {**F32, "dtype": "F33"}}, 8, HeaderFault.DTYPE_UNKNOWN, id="unknown dtype"),
        pytest.param({"a": {**F32, "dtype": 4}}, 8, HeaderFault.DTYPE_UNKNOWN, id="dtype is a number"),
        pytest.param({"a": {**F32, "dtype": ["F32"]}}, 8, HeaderFault.DTYPE_UNKNOWN, id="dtype is a list"),
        pytest.param({"a": {**F32, "shape": [-2]}}, 8, HeaderFault.SHAPE_INVALID, id="negative size"),
        pytest.param({"a": {**F32, "shape": [2.0]}}, 8, HeaderFault.SHAPE_INVALID, id="size is a float"),
        pytest.param({"a": {**F32, "shape": [True, 2]}}, 8, HeaderFault.SHAPE_INVALID, id="size is a boolean"),
        pytest.param({"a": {**F32, "shape": 2}}, 8, HeaderFault.SHAPE_INVALID, id="shape is a number"),
        pytest.param({"a": {**F32, "shape": [2] + [1] * 16}}, 8, HeaderFault.SHAPE_INVALID, id="17 axes"),
        pytest.param({"a": {**F32, "shape": [2**70]}}, 8, HeaderFault.SHAPE_INVALID, id="astronomic size"),
        pytest.param({"a": {**F32, "shape": [2**60] * 8}}, 8, HeaderFault.OFFSETS_INVALID, id="astronomic product"),
        pytest.param({"a": {**F32, "data_offsets": [8, 0]}}, 8, HeaderFault.OFFSETS_INVALID, id="backwards"),
        pytest.param({"a": {**F32, "data_offsets": [0]}}, 8, HeaderFault.OFFSETS_INVALID, id="one offset"),
        pytest.param({"a": {**F32, "data_offsets": [0, 4]}}, 4, HeaderFault.OFFSETS_INVALID, id="too few bytes"),
        pytest.param({"a": {**F32, "data_offsets": [4, 12]}}, 12, HeaderFault.OFFSETS_INVALID, id="hole before"),
        pytest.param({"a": F32, "b": F32}, 8, HeaderFault.OFFSETS_INVALID, id="same bytes twice"),
        pytest.param(
            {"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, 12, HeaderFault.OFFSETS_INVALID, id="overlapping"
        ),
        pytest.param({"a": F32}, 4, HeaderFault.FILE_SIZE_DIFFERS, id="file cut short"),
        pytest.param({"a": F32}, 12, HeaderFault.FILE_SIZE_DIFFERS, id="more data than told"),
    ],
)
def test_hostile_headers_are_refused_with_the_reason(
    table: Any, data: int, fault: HeaderFault, json_header: Callable[..., bytes], request: pytest.FixtureRequest
) -> None:
    content = json_header(table, data)
    with pytest.raises(HeaderError) as caught:
        parse(content)
    assert caught.value.fault is fault
    assert len(caught.value.detail) < 400
    if fault is not HeaderFault.DUPLICATE_KEY and "17 axes" not in request.node.name:  # the library is silent on both
        with pytest.raises(SafetensorError):
            load(content)


@pytest.mark.parametrize(
    ("length", "file_size", "fault"),
    [
        (2**64 - 1, 100, HeaderFault.HEADER_TOO_LARGE),
        (MAX_HEADER_BYTES + 1, 2**40, HeaderFault.HEADER_TOO_LARGE),
        (93, 100, HeaderFault.HEADER_TRUNCATED),
    ],
)
def test_a_length_is_bounded_before_it_is_believed(length: int, file_size: int, fault: HeaderFault) -> None:
    with pytest.raises(HeaderError) as caught:
        header_length(length.to_bytes(8, "little"), file_size=file_size)
    assert caught.value.fault is fault


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(content: bytes) -> None:
    with contextlib.suppress(HeaderError):
        parse(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "F4", "I64"]) | json_values,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | json_values,
    }
)


@settings(max_examples=500)
@given(st.dictionaries(st.text(max_size=4), entries | json_values, max_size=4), st.integers(0, 48))
def test_nothing_passes_here_that_the_library_refuses(table: dict[str, Any], data: int) -> None:
    raw = json.dumps(table).encode()
    content = len(raw).to_bytes(8, "little") + raw + bytes(data)
    try:
        parse(content)
    except HeaderError:
        return
    load(content)


def test_one_request_is_enough_when_the_guess_is_right_and_two_when_not(store: Store) -> None:
    content = save({f"layer.{n}.weight": np.zeros(3, "f4") for n in range(50)})
    store.put("w", content)
    info = store.head("w")
    assert info is not None
    for guess, requests in ((10_000, 1), (10, 2), (0, 2), (-5, 2)):
        before = store.traffic
        assert len(read_header(store, info, expected_bytes=guess).architecture) == 50
        assert store.traffic.since(before).requests == requests


def test_a_header_that_claims_gigabytes_is_not_fetched(store: Store, json_header: Callable[..., bytes]) -> None:
    store.put("w", json_header({}, 10, length=2**33))
    info = store.head("w")
    assert info is not None
    before = store.traffic
    with pytest.raises(HeaderError, match="claims"):
        read_header(store, info, expected_bytes=0)
    assert store.traffic.since(before).bytes_read <= 8
