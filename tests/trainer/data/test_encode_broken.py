"""A sample that is broken ends the encoding by name, or is left out and counted where that was asked for."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.trainer.data.dying_store import DyingStore, tree
from tests.trainer.data.tars import tar_of
from tests.trainer.mortal_store import Killed

from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.open import Location
from t2i_trainer.data.encode_job import EncodeOptions, encode_job
from t2i_trainer.data.shard_index import INDEX
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def add_to_metadata(source: Path, **row: str) -> None:
    with (source / "metadata.jsonl").open("a") as file:
        file.write("\n" + json.dumps(row))


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
