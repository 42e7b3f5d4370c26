"""What is wrong in a Parquet file: said with file, row and way out; a row alone breaks where only it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trainer.data.parquet_files import DATA, IMAGE, all_of, file_of, noise, opened, read, rows

from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import NotFound, ObjectChanged
from t2i_trainer.data.parquet import ParquetSet
from t2i_trainer.data.pictures import BrokenPictureError
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("c.png", r"row 0 names a picture .*/data/c\.png that is not there"),
        ("https://host/c.png", "row 0 names a picture .* that is not there"),
        ("../../c.png", r"row 0 names a picture '\.\./c\.png' that cannot lie below .*"),
        ("/etc/passwd", "row 0 names a picture '/etc/passwd' that cannot lie below"),
        ("a\0.png", "cannot lie below .* no control characters"),
    ],
)
def test_a_path_that_leads_nowhere_breaks_its_row_alone(tmp_path: Path, path: str, message: str) -> None:
    store = LocalStore(tmp_path)
    store.put("data/a.parquet", file_of({"image": [path], "text": ["a"]}))
    (sample,) = opened(store).parts[0].samples(0)
    with pytest.raises(BrokenPictureError, match=message):
        sample.load()


def test_a_row_without_its_half_is_broken_and_named(tmp_path: Path) -> None:
    no_utf8 = (
        pa.array([b"\xff", "\ud800".encode(errors="surrogatepass")], pa.binary()).cast(pa.binary()).view(pa.string())
    )
    columns: dict[str, Any] = {
        "image": pa.array(
            [{"bytes": b"P", "path": None}, None, {"bytes": b"", "path": ""}, {"bytes": b"P"}, {"bytes": b"P"}], IMAGE
        ),
        "text": pa.concat_arrays([pa.array([None, "a", "b"], pa.string()), no_utf8]),
    }
    store = LocalStore(tmp_path)
    store.put("a.parquet", file_of(columns))
    samples = list(opened(store).parts[0].samples(0))
    assert [sample.caption for sample in samples] == [None] * 5
    faults = ["row 0 has no caption in column 'text'", *(f"row {n} has no picture in column 'image'" for n in (1, 2))]
    for sample, fault in zip(samples, [*faults, *(f"row {n}: text in it is no UTF-8" for n in (3, 4))], strict=True):
        with pytest.raises(BrokenPictureError, match=fault):
            sample.load()


def test_every_file_is_checked_before_the_first_sample(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a.parquet", file_of(rows(2)))
    store.put("b.parquet", file_of({"image": rows(2)["image"], "caption": ["a", "b"]}))
    with pytest.raises(TrainerError, match=r"b\.parquet has no column 'text' \(columns: image, caption\)") as caught:
        opened(store)
    assert caught.value.code is ExitCode.DATA_INVALID


WHOLE = file_of({"image": [noise(500 + n) for n in range(64)], "text": ["x"] * 64}, row_group_size=32)
FOOTER = int.from_bytes(WHOLE[-8:-4], "little")  # bytes before the last eight


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "a.parquet is damaged, or no Parquet: Parquet file size is 0 bytes"),
        (b"PAR1", "is damaged, or no Parquet"),
        (b'{"image": 1}\n' * 20, "Parquet magic bytes not found"),
        (WHOLE[:-100], "Parquet magic bytes not found"),
        (WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1", "is damaged, or no Parquet"),
        (WHOLE[: -FOOTER - 8] + b"\xff" * FOOTER + WHOLE[-8:], "is damaged, or no Parquet"),
        (WHOLE[:4] + b"\xff" * 200 + WHOLE[204:], r"row group 0 \(rows 0 to 31\), is damaged"),
        (WHOLE[:4] + WHOLE[5004:], "is damaged"),
    ],
    ids=["empty", "magic", "JSON", "cut", "footer-length", "footer", "first-row-group", "hole"],
)
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, raw: bytes, message: str) -> None:
    store = LocalStore(tmp_path)
    store.put("a.parquet", raw)
    with pytest.raises(TrainerError, match=message) as caught:
        all_of(opened(store))
    assert str(caught.value).endswith("Write the file anew")
    assert caught.value.code is ExitCode.DATA_INVALID


def test_a_checksum_that_a_page_carries_is_compared(tmp_path: Path) -> None:
    raw = file_of({"image": [noise(5000)], "text": ["x"]}, write_page_checksum=True, compression="none")
    store = LocalStore(tmp_path)
    store.put("a.parquet", raw[:3000] + bytes([raw[3000] ^ 1]) + raw[3001:])
    with pytest.raises(TrainerError, match=r"rows 0 to 0\), is damaged.*CRC"):
        all_of(opened(store))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A place where each example writes its file anew."""
    return LocalStore(tmp_path_factory.mktemp("examples"))


@given(place=st.integers(4, len(WHOLE) - 1), damage=st.binary(min_size=1, max_size=8))
def test_whatever_is_damaged_the_trainer_says_so_or_reads_on(room: LocalStore, place: int, damage: bytes) -> None:
    room.put("a.parquet", WHOLE[:place] + damage + WHOLE[place + len(damage) :])
    try:
        assert len(all_of(opened(room))) <= 64
    except TrainerError as error:
        assert "a.parquet" in str(error)  # noqa: PT017  # either end is right


def test_a_file_that_is_replaced_while_it_is_read_ends_the_run(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a.parquet", file_of(rows(4)))
    (part,) = opened(store).parts
    store.put("a.parquet", file_of(rows(4)))
    with pytest.raises(ObjectChanged, match=r"a\.parquet"):
        read(part.samples(0))


def test_a_file_that_goes_away_is_the_stores_error(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a.parquet", file_of(rows(4)))
    infos = list(store.list(""))
    store.delete(["a.parquet"])
    with pytest.raises(NotFound):
        ParquetSet.open(store, infos, DATA)
