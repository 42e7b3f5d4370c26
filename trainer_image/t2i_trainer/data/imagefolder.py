"""Captioned pictures from a HuggingFace imagefolder in a store: `metadata.jsonl` beside the picture files.

Format: https://huggingface.co/docs/datasets/image_dataset#imagefolder. Everything is read once, several files at a
time, and kept as bytes in memory; every fault names the line.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from t2i_api.progress import ExitCode
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from t2i_api.spec_model import Data
    from t2i_checkpoint.store import Store

METADATA = "metadata.jsonl"
_CONCURRENT_READS = 16
_SHARE_OF_MEMORY = 0.5
_MAXIMUM_PICTURE_PIXELS = 100_000_000


@dataclass(frozen=True)
class CaptionedPictures:
    """`pixels` uint8 [N, 3, R, R] in RGB; `sha256` is that of metadata.jsonl."""

    pixels: NDArray[np.uint8]
    captions: tuple[str, ...]
    sha256: str

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class _Row:
    key: str
    caption: str


def read_imagefolder(store: Store, data: Data) -> CaptionedPictures:
    """Read the whole set; raises TrainerError(DATA_INVALID) or StoreError."""
    raw = store.read(METADATA)
    rows = tuple(_rows(raw, data, store.uri))
    if not rows:
        raise _invalid(f"{store.uri}/{METADATA} has no rows: write one JSON object a picture")
    _check_memory(len(rows), data.resolution)
    pixels = np.empty((len(rows), 3, data.resolution, data.resolution), dtype=np.uint8)

    def load(position: int) -> None:
        key = rows[position].key
        pixels[position] = _decode(store.read(key), data.resolution, f"{store.uri}/{key}")

    with ThreadPoolExecutor(_CONCURRENT_READS, thread_name_prefix="pictures") as pool:
        for _ in pool.map(load, range(len(rows))):
            pass
    return CaptionedPictures(pixels, tuple(row.caption for row in rows), hashlib.sha256(raw).hexdigest())


def _rows(raw: bytes, data: Data, uri: str) -> Iterator[_Row]:
    for number, line in enumerate(raw.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{uri}/{METADATA} line {number}"
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise _invalid(f"{where} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise _invalid(f"{where} is no JSON object")
        yield _Row(
            _text(row, data.image_field, where, "imageField"), _text(row, data.caption_field, where, "captionField")
        )


def _text(row: dict[str, Any], field: str, where: str, setting: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or (setting == "imageField" and not value):
        there = ", ".join(sorted(map(str, row)))[:200]
        raise _invalid(f"{where} has no text in field {field!r} (fields: {there}); set data.{setting}")
    return value


def _decode(raw: bytes, resolution: int, where: str) -> NDArray[np.uint8]:
    """Return RGB uint8 [3, R, R]: transparency on white, shorter side scaled, the middle cut out."""
    try:
        with Image.open(io.BytesIO(raw)) as opened:
            if opened.width * opened.height > _MAXIMUM_PICTURE_PIXELS:
                raise _invalid(
                    f"{where} has {opened.width} x {opened.height} pixels, at most {_MAXIMUM_PICTURE_PIXELS}"
                )
            picture: Image.Image = ImageOps.exif_transpose(opened)
            if picture.has_transparency_data:
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            picture = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise _invalid(f"{where} is no readable picture: {error}") from error
    if picture.size != (resolution, resolution):
        picture = ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)


def _check_memory(count: int, resolution: int) -> None:
    needed = count * 3 * resolution * resolution
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > _SHARE_OF_MEMORY * available:
        raise _invalid(
            f"{count} pictures of {resolution} x {resolution} take {needed >> 20} MiB in every process, "
            f"this machine has {available >> 20} MiB: lower data.resolution or use fewer pictures"
        )


def _invalid(message: str) -> TrainerError:
    return TrainerError(ExitCode.DATA_INVALID, message)
