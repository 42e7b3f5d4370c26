"""Captioned pictures from a HuggingFace imagefolder in a store: `metadata.jsonl` beside the picture files.

Format: https://huggingface.co/docs/datasets/image_dataset#imagefolder. For small sets: everything is read once, several
files at a time, and kept as bytes in memory; every fault names the line.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from t2i_api.progress import ExitCode
from t2i_trainer.data.json_rows import row_of, text_of
from t2i_trainer.data.picture_files import read_picture
from t2i_trainer.data.pictures import BrokenPictureError, decode_picture
from t2i_trainer.errors import TrainerError
from t2i_trainer.memory import available_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from t2i_api.spec_model import Data
    from t2i_checkpoint.store import Store

METADATA = "metadata.jsonl"
_CONCURRENT_READS = 16
_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class CaptionedPictures:
    """`pixels` uint8 [N, 3, R, R] in RGB; `sha256` is that of metadata.jsonl."""

    pixels: NDArray[np.uint8]
    captions: tuple[str, ...]
    sha256: str

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class CaptionedFile:
    """A line of metadata.jsonl: where the picture lies, and its caption."""

    key: str
    caption: str


@dataclass(frozen=True)
class BrokenLine:
    """A line of metadata.jsonl that cannot be used; `fault` names it and says why."""

    where: str
    fault: str


@dataclass(frozen=True)
class Metadata:
    """All lines but empty ones, and the hex SHA-256 of the whole file."""

    lines: tuple[CaptionedFile | BrokenLine, ...]
    sha256: str

    def all_usable(self) -> tuple[CaptionedFile, ...]:
        """Return the lines; raises BrokenPictureError for the first that cannot be used."""
        return tuple(map(_usable, self.lines))


def read_metadata(store: Store, data: Data) -> Metadata:
    """Read and check metadata.jsonl; raises TrainerError(DATA_INVALID) where no line can be used, or StoreError."""
    raw = store.read(METADATA)
    lines = tuple(_lines(raw, data, store.uri))
    if not lines:
        raise _invalid(f"{store.uri}/{METADATA} has no rows: write one JSON object a picture")
    faults = [line.fault for line in lines if isinstance(line, BrokenLine)]
    if len(faults) == len(lines):
        raise _invalid(f"{faults[0]}. None of {METADATA}'s lines can be used ({len(lines)})")
    return Metadata(lines, hashlib.sha256(raw).hexdigest())


def read_imagefolder(store: Store, data: Data) -> CaptionedPictures:
    """Read the whole set; raises TrainerError(DATA_INVALID) or StoreError."""
    metadata = read_metadata(store, data)
    rows = metadata.all_usable()
    _check_memory(len(rows), data.resolution)
    pixels = np.empty((len(rows), 3, data.resolution, data.resolution), dtype=np.uint8)

    def load(position: int) -> None:
        key = rows[position].key
        raw = read_picture(store, key, f"{store.uri}/{METADATA}")
        pixels[position] = decode_picture(raw, data.resolution, f"{store.uri}/{key}")

    with ThreadPoolExecutor(_CONCURRENT_READS, thread_name_prefix="pictures") as pool:
        for _ in pool.map(load, range(len(rows))):
            pass
    return CaptionedPictures(pixels, tuple(row.caption for row in rows), metadata.sha256)


def _lines(raw: bytes, data: Data, uri: str) -> Iterator[CaptionedFile | BrokenLine]:
    for number, line in enumerate(raw.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{uri}/{METADATA} line {number}"
        try:
            yield _file_of(line, data, where)
        except BrokenPictureError as error:
            yield BrokenLine(where, str(error))


def _file_of(line: bytes, data: Data, where: str) -> CaptionedFile:
    row = row_of(line, where)
    path = text_of(row, data.image_field, where, "imageField")
    key = "/".join(part for part in path.split("/") if part != ".")  # as shells and scripts write it: ./a.png
    return CaptionedFile(key, text_of(row, data.caption_field, where, "captionField"))


def _usable(line: CaptionedFile | BrokenLine) -> CaptionedFile:
    if isinstance(line, BrokenLine):
        raise BrokenPictureError(line.fault)
    return line


def _check_memory(count: int, resolution: int) -> None:
    needed = count * 3 * resolution * resolution
    available = available_bytes()
    if needed > _SHARE_OF_MEMORY * available:
        raise _invalid(
            f"{count} pictures of {resolution} x {resolution} take {needed >> 20} MiB in every process, "
            f"{available >> 20} MiB are free: encode them once with `t2i data encode` and train from the shards"
        )


def _invalid(message: str) -> TrainerError:
    return TrainerError(ExitCode.DATA_INVALID, message)
