"""A stored object read as a file: the same bytes wherever one jumps, and never of two objects."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import ObjectChanged
from t2i_trainer.data.object_file import ObjectFile

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = bytes(range(100))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    store = LocalStore(tmp_path_factory.mktemp("objects"))
    store.put("numbers", CONTENT)
    return store


def opened(store: LocalStore) -> ObjectFile:
    info = store.head("numbers")
    assert info is not None
    return ObjectFile(store, info)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 130), st.just(0)),
        st.tuples(st.just("seek"), st.integers(-130, 130), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
    ),
    max_size=8,
)


@given(steps=steps)
def test_it_reads_what_a_file_of_the_same_bytes_reads(store: LocalStore, steps: list[tuple[str, int, int]]) -> None:
    file, real = opened(store), io.BytesIO(CONTENT)
    for kind, number, whence in steps:
        if kind == "read":
            assert file.read(number) == real.read(number)
        elif (start := (0, real.tell(), len(CONTENT))[whence] + number) >= 0:
            assert file.seek(number, whence) == real.seek(number, whence) == start
        else:
            with pytest.raises(ValueError, match="before the start"):
                file.seek(number, whence)
        assert file.tell() == real.tell()


def test_only_what_is_asked_for_is_fetched(store: LocalStore) -> None:
    file, before = opened(store), store.traffic
    file.seek(-10, os.SEEK_END)
    assert file.read(4) == CONTENT[90:94]
    assert store.traffic.since(before).bytes_read == 4


def test_an_object_that_is_replaced_meanwhile_is_noticed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("numbers", CONTENT)
    file = opened(store)
    file.read(10)
    store.put("numbers", CONTENT[::-1])
    with pytest.raises(ObjectChanged, match="numbers"):
        file.read(10)
