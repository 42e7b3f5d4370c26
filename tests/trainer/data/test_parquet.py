"""Parquet files as a source: every row once and in order, only what is needed is read, no fault hides."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trainer.data.parquet_files import DATA, IMAGE, all_of, expected, file_of, noise, opened, read, rows

from t2i_api.spec_model import Data
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.open import open_store
from t2i_trainer.data.parquet import ParquetPart

if TYPE_CHECKING:
    from pathlib import Path

    from t2i_checkpoint.store import Store
    from t2i_dev.s3_server import S3Server


@pytest.fixture(scope="module", params=["directory", "S3"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ten rows in three files of a layout that the Hub has, beside what is no part of the set."""
    if request.param == "directory":
        store: Store = LocalStore(tmp_path_factory.mktemp("parquet"))
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment().items():
                patch.setenv(name, value)
            store = open_store(f"s3://{server.bucket}/parquet")
    store.put("README.md", b"# a set")
    store.put("data/_temporary/0/part.parquet", b"half of a file")
    store.put("data/train-00002-of-00003.parquet", file_of(rows(3, 7)))
    store.put("data/train-00000-of-00003.parquet", file_of(rows(4), row_group_size=3))
    store.put("data/train-00001-of-00003.parquet", file_of(rows(3, 4), row_group_size=1, compression="zstd"))
    return store


def test_rows_come_in_the_order_of_keys_and_rows(store: Store) -> None:
    source = opened(store)
    assert all_of(source) == expected(10)
    assert source.count == 10
    assert [part.info.key[-22:] for part in source.parts if isinstance(part, ParquetPart)] == [
        f"0000{n}-of-00003.parquet" for n in range(3)
    ]


def test_a_single_file_can_be_named(store: Store) -> None:
    assert all_of(opened(store, key="data/train-00000-of-00003.parquet")) == expected(4)


def test_a_folder_that_is_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("set.parquet/part-0.parquet", file_of(rows(2)))
    assert all_of(opened(store, key="set.parquet")) == expected(2)


def test_the_same_files_are_the_same_source_and_others_are_not(store: Store, tmp_path: Path) -> None:
    copy = LocalStore(tmp_path)
    for info in store.list("data/"):
        copy.put(info.key, store.read(info.key))
    source = opened(store)
    assert opened(copy).sha256 == source.sha256
    copy.put("data/train-00003-of-00003.parquet", file_of(rows(1)))
    assert opened(copy).sha256 != source.sha256


def test_another_column_is_another_source(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a.parquet", file_of({**rows(2), "short": ["a", "b"]}))
    source = opened(store, Data(uri=DATA.uri, resolution=8, caption_field="short"))
    assert [caption for _, caption in all_of(source)] == ["a", "b"]
    assert source.sha256 != opened(store).sha256


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A place where each example writes its file anew."""
    return LocalStore(tmp_path_factory.mktemp("examples"))


@dataclass(frozen=True)
class Cut:
    """How a writer divides its rows and packs them."""

    row_group_size: int
    write_batch_size: int  # with pages of a byte at most, the rows of a page
    compression: str
    use_dictionary: bool


cuts = st.builds(
    Cut, st.integers(1, 110), st.integers(1, 50), st.sampled_from(["none", "snappy", "zstd", "gzip"]), st.booleans()
)


@given(count=st.integers(0, 100), skip=st.integers(0, 110), cut=cuts)
def test_however_a_file_is_cut_the_same_samples_follow_the_skipped_ones(
    room: LocalStore, count: int, skip: int, cut: Cut
) -> None:
    room.put("a.parquet", file_of(rows(count), data_page_size=1, **asdict(cut)))
    source = opened(room)
    assert source.count == count
    assert read(source.parts[0].samples(skip)) == expected(count)[skip:]


def test_only_the_needed_columns_and_row_groups_are_read(tmp_path: Path) -> None:
    picture, other = 10_000, 50_000
    columns = {
        "image": [noise(picture + n) for n in range(40)],
        "text": [f"caption {n}" for n in range(40)],
        "depth": [noise(other + n) for n in range(40)],
    }
    store = LocalStore(tmp_path)
    store.put("a.parquet", file_of(columns, row_group_size=10))
    (part,) = opened(store).parts
    before = store.traffic
    assert len(list(part.samples(0))) == 40
    everything = store.traffic.since(before).bytes_read
    assert 40 * picture < everything < 40 * (picture + other) / 3
    before = store.traffic
    assert len(list(part.samples(25))) == 15
    assert store.traffic.since(before).bytes_read < 0.65 * everything


def test_a_file_of_one_row_group_is_never_held_whole(tmp_path: Path) -> None:
    pictures = [noise(100_000 + n) for n in range(600)]
    store = LocalStore(tmp_path)
    raw = file_of({"image": pictures, "text": ["x"] * 600}, write_batch_size=16, use_dictionary=False)
    store.put("a.parquet", raw)
    (part,) = opened(store).parts
    before, allocated, peak = store.traffic, pa.total_allocated_bytes(), 0
    samples = part.samples(0)
    next(samples)
    assert store.traffic.since(before).bytes_read < len(raw) / 3
    for number, sample in enumerate(samples, start=1):
        peak = max(peak, pa.total_allocated_bytes() - allocated)
        assert sample.load() == pictures[number]
    assert 0 < peak < len(raw) / 3


@pytest.mark.parametrize(
    ("column", "pictures"),
    [
        ("image", pa.array([{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "../other/b.png"}], IMAGE)),
        ("image", ["a.png", "../other/b.png"]),
        ("file_name", pa.array(["a.png", "../other/b.png"]).dictionary_encode()),
    ],
    ids=["struct", "text", "file-name"],
)
def test_a_path_is_relative_to_its_file(tmp_path: Path, column: str, pictures: Any) -> None:
    store = LocalStore(tmp_path)
    store.put("data/a.png", b"A")
    store.put("other/b.png", b"B")
    store.put("data/metadata.parquet", file_of({column: pictures, "text": ["a", "b"]}))
    assert all_of(opened(store)) == [(b"A", "a"), (b"B", "b")]
