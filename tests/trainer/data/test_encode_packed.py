"""Tars and Parquet files give what the folder of the same pictures gives, after a kill too; a cut one gives nothing."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet
from tests.trainer.data.dying_store import DyingStore, tree
from tests.trainer.data.parquet_files import table_of
from tests.trainer.data.tars import tar_of
from tests.trainer.mortal_store import Killed

from t2i_checkpoint.local import LocalStore
from t2i_trainer.data.shard_index import INDEX
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_tars_give_what_the_folder_gives(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    folder = workshop.encode(LocalStore(tmp_path / "folder"), samples_per_shard=5)
    rows = [json.loads(line) for line in (workshop.source / "metadata.jsonl").read_text().splitlines()]
    pictures = {row["file_name"]: (workshop.source / row["file_name"]).read_bytes() for row in rows}
    workshop.empty_source()
    for number in range(2):
        files = {}
        for row in rows[5 * number : 5 * number + 5]:
            stem = "set/" + row["file_name"].removesuffix(".png")
            files[f"{stem}.png"] = pictures[row["file_name"]]
            plain = number == 0
            files[f"{stem}.txt" if plain else f"{stem}.json"] = (row["text"] if plain else json.dumps(row)).encode()
        (workshop.source / f"{number}.tar").write_bytes(tar_of(files))
    tars = workshop.encode(LocalStore(tmp_path / "tars"), samples_per_shard=5)
    assert [shard.sha256 for shard in tars.index.shards] == [shard.sha256 for shard in folder.index.shards]
    # Shards never cross a tar: with three samples each, a tar makes two.
    assert [s.samples for s in workshop.encode(LocalStore(tmp_path / "t3")).index.shards] == [3, 2, 3, 2]


def test_a_tar_that_breaks_off_never_makes_a_whole_set(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    picture = (workshop.source / "red-circle.png").read_bytes()
    workshop.empty_source()
    first = {"1.png": picture, "1.txt": b"red"}
    both = {**first, "2.png": picture, "2.txt": b"red"}
    length = len(tar_of(first).rstrip(b"\0"))
    (workshop.source / "a.tar").write_bytes(tar_of(both)[: length + -length % 512])
    out = LocalStore(tmp_path / "out")
    with pytest.raises(TrainerError, match=r"a\.tar is no whole, uncompressed tar: it breaks off"):
        workshop.encode(out, skip_broken=True)
    assert out.head(INDEX) is None


# What takes the place of four pictures with the caption `red` while the command is not running.
REPLACEMENTS = {"other captions": ["tan"] * 4, "fewer pictures": ["red"] * 2, "one picture": ["tan"]}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_a_file_that_was_replaced_by_one_of_its_size_is_encoded_anew(
    make_workshop: Callable[[str], Any], tmp_path: Path, replacement: str
) -> None:
    """Tars are filled up to 10 KiB, so that small ones hardly differ in size."""
    workshop = make_workshop("pixels")
    picture = (workshop.source / "red-circle.png").read_bytes()
    workshop.empty_source()

    def write(captions: list[str]) -> int:
        """Return the size of what was written."""
        files: dict[str, bytes] = {}
        for row, text in enumerate(captions):
            files |= {f"{row}.png": picture, f"{row}.txt": text.encode()}
        content = tar_of(files, tarfile.USTAR_FORMAT)
        (workshop.source / "a.tar").write_bytes(content)
        return len(content)

    size = write(["red"] * 4)
    with pytest.raises(Killed):
        workshop.encode(DyingStore(tmp_path / "out", 9, after=False), samples_per_shard=1)
    assert write(REPLACEMENTS[replacement]) == size
    done = workshop.encode(LocalStore(tmp_path / "out"), samples_per_shard=1)
    assert done.progress.kept == 0
    assert done.index == workshop.encode(LocalStore(tmp_path / "whole"), samples_per_shard=1).index


def pack_as_parquet(workshop: Any) -> None:
    """Put the folder's ten pictures into two files as `datasets` writes them, in place of the folder."""
    source, table = workshop.source, table_of(workshop.source)
    workshop.empty_source()
    (source / "data").mkdir()
    for number in range(2):
        path = source / "data" / f"train-{number:05d}-of-00002.parquet"
        parquet.write_table(table.slice(5 * number, 5), path, row_group_size=2)


def test_parquet_files_give_what_the_folder_gives(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    folder = workshop.encode(LocalStore(tmp_path / "folder"), samples_per_shard=5)
    pack_as_parquet(workshop)
    files = workshop.encode(LocalStore(tmp_path / "files"), samples_per_shard=5)
    assert [shard.sha256 for shard in files.index.shards] == [shard.sha256 for shard in folder.index.shards]
    assert files.progress.total == 10


@pytest.mark.parametrize("write", range(1, 12))
def test_killed_while_it_reads_parquet_a_second_run_ends_with_the_same_bytes(
    make_workshop: Callable[[str], Any], tmp_path: Path, write: int
) -> None:
    workshop = make_workshop("pixels")
    pack_as_parquet(workshop)
    workshop.encode(LocalStore(tmp_path / "whole"))
    with pytest.raises(Killed):
        workshop.encode(DyingStore(tmp_path / "broken", write, after=False))
    workshop.encode(LocalStore(tmp_path / "broken"))
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")
