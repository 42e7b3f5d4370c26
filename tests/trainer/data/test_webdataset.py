"""A tar gives every sample that lies in it, or says that it is damaged: it never just ends."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.trainer.data.tars import tar_of

from t2i_api.progress import ExitCode
from t2i_api.spec_model import Data
from t2i_checkpoint.local import LocalStore
from t2i_trainer.data.pictures import BrokenPictureError
from t2i_trainer.data.webdataset import TarPart
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from pathlib import Path

DATA = Data.model_validate({"uri": "file:///pictures", "resolution": 16})
BLOCK = tarfile.BLOCKSIZE
# Long and foreign names take headers of their own, which no checksum covers.
KEYS = ("1", "2", "a/3", f"{'deep/' * 22}4", "ä/5")
FILES = {f"{key}.{kind}": f"{kind} of {key}".encode() for key in KEYS for kind in ("png", "txt")}
FORMATS = {"GNU": tarfile.GNU_FORMAT, "PAX": tarfile.PAX_FORMAT, "USTAR": tarfile.USTAR_FORMAT}
PLAIN = tar_of(FILES, tarfile.USTAR_FORMAT)  # header, payload, header, payload ...: a block each
END = 2 * BLOCK * len(FILES)


def tar_in(folder: Path, content: bytes) -> TarPart:
    """Write the tar `a.tar` and open it."""
    (folder / "a.tar").write_bytes(content)
    store = LocalStore(folder)
    info = store.head("a.tar")
    assert info is not None
    return TarPart(store, info, DATA, folder)


def read(content: bytes, folder: Path, skip: int = 0) -> dict[str, tuple[str | None, bytes]]:
    """Return each sample's caption and picture by its key; a sample with a fault has no caption."""
    found = {}
    for sample in tar_in(folder, content).samples(skip):
        picture = b"" if sample.caption is None else sample.load()
        found[sample.where.partition("a.tar/")[2]] = (sample.caption, picture)
    return found


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("blocks_of_end", [1, 2, None])
def test_a_whole_tar_gives_every_sample(name: str, blocks_of_end: int | None, tmp_path: Path) -> None:
    content = tar_of(FILES, FORMATS[name])
    if blocks_of_end is not None:
        content = content.rstrip(b"\0")
        content += bytes(-len(content) % BLOCK + blocks_of_end * BLOCK)
    assert read(content, tmp_path) == {key: (f"txt of {key}", f"png of {key}".encode()) for key in KEYS}
    assert list(read(content, tmp_path, skip=4)) == [KEYS[4]]


# A caption's files, and what is said of them; the picture is whole.
BROKEN_CAPTIONS: dict[str, tuple[dict[str, bytes], str]] = {
    "half a character": ({"1.json": b'{"text": "a\\ud800"}'}, r"a\.tar/1\.json holds half a character in field 'text'"),
    "nested too deeply": ({"1.json": b"[" * 100_000}, r"a\.tar/1\.json .* nested too deeply"),
    "no field": ({"1.json": b"{}"}, r"a\.tar/1\.json has no text in field 'text'"),
    "no object": ({"1.json": b"[]"}, r"a\.tar/1\.json is no JSON object"),
    "no UTF-8": ({"1.txt": b"\xff"}, r"a\.tar/1\.txt is no UTF-8 text"),
    "none": ({}, r"a\.tar/1 has no caption \(txt, json\): png"),
}


@pytest.mark.parametrize("what", BROKEN_CAPTIONS)
def test_a_caption_that_cannot_be_used_breaks_its_sample_alone(what: str, tmp_path: Path) -> None:
    files, fault = BROKEN_CAPTIONS[what]
    content = tar_of({"1.png": b"", **files, "2.png": b"P", "2.txt": b"a"})
    broken, whole = tar_in(tmp_path, content).samples(0)
    assert (broken.caption, whole.caption) == (None, "a")
    with pytest.raises(BrokenPictureError, match=fault):
        broken.load()


def with_byte(content: bytes, place: int, byte: int) -> bytes:
    return content[:place] + bytes([byte]) + content[place + 1 :]


# What became of the tar, and what is said of it.
DAMAGED = {
    "a byte of the third header": (with_byte(PLAIN, 4 * BLOCK + 3, 0xFF), "no member and no end at byte 2048"),
    "the third header zeroed": (
        PLAIN[: 4 * BLOCK] + bytes(BLOCK) + PLAIN[5 * BLOCK :],
        r"no member and no end at byte 2048 \(first byte that is not zero: 2560\)",
    ),
    "cut between members": (PLAIN[: 4 * BLOCK], "breaks off at byte 2048"),
    "cut before the end": (PLAIN[:END], f"breaks off at byte {END}"),
    "cut within a header": (PLAIN[: 4 * BLOCK + 100], "no member and no end at byte 2048"),
    "cut within a member": (PLAIN[: 5 * BLOCK + 4], "unexpected end of data"),
    "cut within a member's padding": (PLAIN[: 6 * BLOCK - 4], "unexpected end of data"),
    "two tars strung together": (PLAIN + PLAIN, r"make one with `tar --concatenate`"),
    "a byte of the end": (with_byte(PLAIN, len(PLAIN) - 1, 1), f"first byte that is not zero: {len(PLAIN) - 1}"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_tar_is_refused_by_name_and_place(what: str, tmp_path: Path) -> None:
    content, words = DAMAGED[what]
    with pytest.raises(TrainerError, match=rf"a\.tar is no whole, uncompressed tar: .*{words}") as caught:
        read(content, tmp_path)
    assert caught.value.code is ExitCode.DATA_INVALID


WHOLE = {name: tar_of(FILES, number) for name, number in FORMATS.items()}
PLACES = st.sampled_from(sorted(WHOLE)).flatmap(
    lambda name: st.tuples(st.just(name), st.integers(0, len(WHOLE[name]) - 1))
)


# Each example writes a file of its own content, so that the folder may be shared.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(PLACES, st.integers(0, 255))
@example(("USTAR", 4 * BLOCK + 3), 0xFF)
def test_one_damaged_byte_costs_no_sample_silently(tmp_path: Path, place: tuple[str, int], byte: int) -> None:
    """Either the tar is refused, or each sample is there or has a fault that names it."""
    name, number = place
    try:
        found = read(with_byte(WHOLE[name], number, byte), tmp_path)
    except TrainerError as error:
        assert error.code is ExitCode.DATA_INVALID  # noqa: PT017  # either way is right
        return
    there = {key for key, (caption, _) in found.items() if caption is not None}
    assert len(set(KEYS) - there) <= len(found.keys() - there)
