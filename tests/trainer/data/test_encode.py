"""From pictures to shards: the same bytes every time, gone on with after a kill, and nothing hidden."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.trainer.data.parquet_files import table_of
from tests.trainer.data.tars import tar_of

from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.open import Location
from t2i_trainer.data.encode_job import EncodeOptions, encode_job
from t2i_trainer.data.shard_file import ShardReader
from t2i_trainer.data.shard_index import INDEX, RECIPE, read_index
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class DyingStore(LocalStore):
    """A directory whose writer dies before its nth write, or right after it."""

    def __init__(self, root: Path, write: int, *, after: bool) -> None:
        super().__init__(root)
        self._left = write
        self._after = after

    def _hit(self, write: Callable[[], None]) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        write()
        if self._left == 0:
            raise Killed

    def put(self, key: str, data: bytes) -> None:
        self._hit(lambda: LocalStore.put(self, key, data))

    def create(self, key: str, data: bytes) -> None:
        self._hit(lambda: LocalStore.create(self, key, data))

    def upload(self, key: str, path: Path) -> None:
        self._hit(lambda: LocalStore.upload(self, key, path))


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".t2i" not in str(path)
    }


def add_to_metadata(source: Path, **row: str) -> None:
    with (source / "metadata.jsonl").open("a") as file:
        file.write("\n" + json.dumps(row))


def test_shards_hold_the_samples_in_the_order_of_the_source(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop = make_workshop("latents")
    done = workshop.encode(LocalStore(tmp_path / "out"))
    assert [shard.samples for shard in done.index.shards] == [3, 3, 3, 1]
    assert done.index.recipe.sample_shape == (8, 8, 8)
    captions = []
    for shard in done.index.shards:
        reader = ShardReader(tmp_path / "out" / shard.path, done.index.recipe, shard.samples, shard.path)
        captions += reader.captions()
    lines = (workshop.source / "metadata.jsonl").read_text().splitlines()
    assert captions == [json.loads(line)["text"] for line in lines]
    assert [report.samples for report in workshop.reports][-1] == 10


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, 12))
def test_killed_at_any_write_a_second_run_ends_with_the_same_bytes(
    make_workshop: Callable[[str], Any],
    tmp_path: Path,
    write: int,
    after: bool,  # noqa: FBT001
) -> None:
    workshop = make_workshop("pixels")
    workshop.encode(LocalStore(tmp_path / "whole"))
    with pytest.raises(Killed):
        workshop.encode(DyingStore(tmp_path / "broken", write, after=after))
    survivor = LocalStore(tmp_path / "broken")
    assert (read_index(survivor) is not None) == (write == 11 and after)
    workshop.encode(survivor)
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")


def test_a_finished_shard_is_not_read_again(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    with pytest.raises(Killed):
        workshop.encode(DyingStore(tmp_path / "out", 7, after=False))
    for name in ("red-circle.png", "red-square.png", "green-circle.png"):
        (workshop.source / name).unlink()
    done = workshop.encode(LocalStore(tmp_path / "out"))
    assert (done.progress.kept, done.progress.samples, done.index.samples) == (6, 10, 10)


def test_a_finished_set_is_left_alone_and_another_one_is_refused(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    workshop.encode(store)
    before = tree(tmp_path / "out")
    assert workshop.encode(store).progress.kept == 10
    with pytest.raises(TrainerError, match=r"samplesPerShard: 4, there 3.*Nothing was changed"):
        workshop.encode(store, samples_per_shard=4)
    store.delete([INDEX])
    with pytest.raises(TrainerError, match="samplesPerShard: 4, there 3"):
        workshop.encode(store, samples_per_shard=4)
    assert tree(tmp_path / "out") == {name: digest for name, digest in before.items() if name != INDEX}


def test_captions_of_another_field_are_never_mixed_in(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    """Regression: metadata.jsonl stays the same file, so that a broken-off set was gone on with by another field."""
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    rows = [json.loads(line) for line in (workshop.source / "metadata.jsonl").read_text().splitlines()]
    both = "\n".join(json.dumps({**row, "title": "another"}) for row in rows)
    (workshop.source / "metadata.jsonl").write_text(both)
    workshop.encode(store)
    store.delete([INDEX])
    data = workshop.spec.data.model_copy(update={"caption_field": "title"})
    other = replace(workshop, spec=workshop.spec.model_copy(update={"data": data}))
    with pytest.raises(TrainerError, match=r"captionField: title, there text.*Nothing was changed"):
        other.encode(store)


def test_a_broken_picture_ends_the_run_or_is_counted(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    (workshop.source / "broken.png").write_bytes(b"\x89PNG no more")
    add_to_metadata(workshop.source, file_name="broken.png", text="nothing")
    add_to_metadata(workshop.source, file_name="missing.png", text="less")
    with pytest.raises(TrainerError, match=r"broken\.png is no readable picture"):
        workshop.encode(LocalStore(tmp_path / "refused"))
    done = workshop.encode(LocalStore(tmp_path / "skipped"), skip_broken=True)
    assert (done.index.samples, done.index.broken_count, done.progress.broken) == (10, 2, 2)
    assert "broken.png is no readable picture" in done.broken[0]
    assert "metadata.jsonl names a picture" in done.broken[1]


BROKEN_LINES: dict[str, tuple[bytes, str]] = {
    "no caption": (b'{"file_name": "red-circle.png"}', "has no text in field 'text'"),
    "null": (b'{"file_name": "red-circle.png", "text": null}', "has no text in field 'text'"),
    "no picture": (b'{"text": "red"}', "has no text in field 'file_name'"),
    "no UTF-8": (b'{"file_name": "red-circle.png", "text": "\xff"}', "is no UTF-8 text"),
    "cut": (b'{"file_name": "red-circ', "is no JSON"),
    "half a character": (b'{"file_name": "red-circle.png", "text": "\\ud800"}', "holds half a character"),
}


@pytest.mark.parametrize("what", BROKEN_LINES)
def test_a_broken_line_of_metadata_ends_the_run_at_once_or_is_counted(
    make_workshop: Callable[[str], Any], tmp_path: Path, what: str
) -> None:
    """Regression: with --skip-broken too it ended the run, although the same fault in a tar or a table did not."""
    line, fault = BROKEN_LINES[what]
    workshop = make_workshop("pixels")
    lines = (workshop.source / "metadata.jsonl").read_bytes().splitlines()
    (workshop.source / "metadata.jsonl").write_bytes(b"\n".join([*lines[:4], b"", line, *lines[4:]]))
    with pytest.raises(TrainerError, match=rf"metadata\.jsonl line 6 {fault}"):
        workshop.encode(LocalStore(tmp_path / "refused"))
    assert not (tmp_path / "refused").exists()
    done = workshop.encode(LocalStore(tmp_path / "skipped"), skip_broken=True)
    assert [shard.samples for shard in done.index.shards] == [3, 2, 3, 2]
    assert f"metadata.jsonl line 6 {fault}" in done.broken[0]
    assert (done.index.broken_count, done.progress.total) == (1, 11)


@pytest.mark.parametrize("skip_broken", [False, True])
def test_metadata_of_nothing_but_broken_lines_is_refused(
    make_workshop: Callable[[str], Any],
    tmp_path: Path,
    skip_broken: bool,  # noqa: FBT001
) -> None:
    """Another field, or no lines at all: an indented document, an archive."""
    workshop = make_workshop("pixels")
    (workshop.source / "metadata.jsonl").write_text('{\n "file_name": "red-circle.png",\n "text": "red"\n}')
    with pytest.raises(
        TrainerError, match=r"line 1 is no JSON: .*\. None of metadata\.jsonl's lines can be used \(4\)"
    ):
        workshop.encode(LocalStore(tmp_path / "out"), skip_broken=skip_broken)


def test_the_command_says_how_to_go_on_without_the_broken_picture(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop = make_workshop("pixels")
    (workshop.source / "green-circle.png").write_bytes(b"\x89PNG no more")
    text_encoder = workshop.spec.model.text_encoder.model_copy(
        update={"uri": f"file://{workshop.models / 'text_encoder'}"}
    )
    model = workshop.spec.model.model_copy(update={"text_encoder": text_encoder})
    spec = workshop.spec.model_copy(update={"model": model})
    source, out, scratch = Location(LocalStore(workshop.source)), LocalStore(tmp_path / "out"), workshop.scratch
    with pytest.raises(
        TrainerError, match=r"green-circle\.png is no readable picture.* same command with --skip-broken"
    ):
        encode_job(spec, source, out, EncodeOptions(scratch, device="cpu"), lambda _: None)
    done = encode_job(spec, source, out, EncodeOptions(scratch, device="cpu", skip_broken=True), lambda _: None)
    assert (done.index.samples, done.index.broken_count) == (9, 1)


def test_after_a_broken_picture_skipping_it_goes_on_and_ends_with_the_same_bytes(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    """Finished shards hold no broken sample; the set that comes of it is no other than one that skipped from the start.

    Regression: the very stop that makes one want --skip-broken left a folder that --skip-broken refused.
    """
    workshop = make_workshop("pixels")
    (workshop.source / "broken.png").write_bytes(b"\x89PNG no more")
    add_to_metadata(workshop.source, file_name="broken.png", text="nothing")
    add_to_metadata(workshop.source, file_name="red-circle.png", text="more")
    workshop.encode(LocalStore(tmp_path / "whole"), skip_broken=True)
    stopped = LocalStore(tmp_path / "stopped")
    with pytest.raises(TrainerError, match=r"broken\.png is no readable picture"):
        workshop.encode(stopped)
    done = workshop.encode(stopped, skip_broken=True)
    assert (done.progress.kept, done.index.samples, done.index.broken_count) == (9, 11, 1)
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


def test_a_set_with_samples_left_out_never_passes_for_a_whole_one(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop, out = make_workshop("pixels"), tmp_path / "out"
    with pytest.raises(Killed):
        workshop.encode(DyingStore(out, 5, after=True))
    with pytest.raises(Killed):
        workshop.encode(DyingStore(out, 2, after=True), skip_broken=True)
    with pytest.raises(TrainerError, match=r"skipBroken: False, there True.*Nothing was changed"):
        workshop.encode(LocalStore(out))


def test_who_skips_is_given_the_finished_set_of_who_did_not(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop, out = make_workshop("pixels"), LocalStore(tmp_path / "out")
    workshop.encode(out)
    before = tree(tmp_path / "out")
    assert workshop.encode(out, skip_broken=True).progress.kept == 10
    assert tree(tmp_path / "out") == before


def test_a_damaged_shard_is_made_again_as_the_message_says(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    shard = workshop.encode(store).index.shards[1]
    before = tree(tmp_path / "out")
    store.delete([INDEX, shard.path, shard.path.replace(".safetensors", ".json")])
    assert workshop.encode(store).progress.kept == 3
    assert tree(tmp_path / "out") == before


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


def test_a_tar_member_that_lacks_its_half_is_broken(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    picture = (workshop.source / "red-circle.png").read_bytes()
    workshop.empty_source()
    files = {"1.png": picture, "1.txt": b"a red circle", "2.txt": b"alone", "3.png": picture}
    (workshop.source / "a.tar").write_bytes(tar_of(files))
    with pytest.raises(TrainerError, match=r"a\.tar/2 has no picture"):
        workshop.encode(LocalStore(tmp_path / "refused"))
    done = workshop.encode(LocalStore(tmp_path / "skipped"), skip_broken=True)
    assert (done.index.samples, done.index.broken_count) == (1, 2)


def test_a_sample_whose_name_is_no_utf8_is_recorded_so_that_a_second_run_reads_it(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop, out = make_workshop("pixels"), LocalStore(tmp_path / "out")
    picture = (workshop.source / "red-circle.png").read_bytes()
    workshop.empty_source()
    files = {"\udcff.txt": b"alone", "2.png": picture, "2.txt": b"a red circle"}
    (workshop.source / "a.tar").write_bytes(tar_of(files, tarfile.GNU_FORMAT))
    assert r"a.tar/\udcff has no picture" in workshop.encode(out, skip_broken=True).broken[0]
    out.delete([INDEX])
    assert workshop.encode(out, skip_broken=True).index.broken_count == 1


# What lies in the source, and what is said of it; every sample is broken, or there is none.
UNUSABLE: dict[str, tuple[dict[str, bytes], str]] = {
    "broken": (
        {"1.txt": b"red", "2.png": b"P", "2.txt": b"blue"},
        r"all 2 samples are broken, the first: .*a\.tar/1 has",
    ),
    "empty": ({}, "it holds no sample"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_source_without_a_usable_picture_is_named_with_its_first_fault(
    make_workshop: Callable[[str], Any], tmp_path: Path, what: str
) -> None:
    files, words = UNUSABLE[what]
    workshop = make_workshop("pixels")
    workshop.empty_source()
    (workshop.source / "a.tar").write_bytes(tar_of(files))
    with pytest.raises(TrainerError, match=rf"^file://{workshop.source} has no usable picture: {words}"):
        workshop.encode(LocalStore(tmp_path / "out"), skip_broken=True)


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


def test_a_broken_row_of_parquet_ends_the_run_or_is_counted(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop = make_workshop("pixels")
    picture = (workshop.source / "red-circle.png").read_bytes()
    workshop.empty_source()
    columns = {"image": [picture, b"no picture", picture, None], "text": ["a", "b", None, "d"]}
    parquet.write_table(pa.table(columns), workshop.source / "a.parquet")
    with pytest.raises(TrainerError, match=r"a\.parquet row 1 is no readable picture"):
        workshop.encode(LocalStore(tmp_path / "refused"))
    done = workshop.encode(LocalStore(tmp_path / "skipped"), skip_broken=True)
    assert (done.index.samples, done.index.broken_count) == (1, 3)
    assert [fault.partition(".parquet ")[2][:25] for fault in done.broken] == [
        "row 1 is no readable pict",
        "row 2 has no caption in c",
        "row 3 has no picture in c",
    ]


def test_what_holds_no_pictures_is_refused_with_a_way_out(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    workshop.empty_source()
    (workshop.source / "readme").write_bytes(b"nothing here")
    with pytest.raises(TrainerError, match=r"holds neither metadata.* nor \*\.tar .* nor \*\.parquet: name the folder"):
        workshop.encode(LocalStore(tmp_path / "out"))
    assert not (tmp_path / "out" / RECIPE).exists()
