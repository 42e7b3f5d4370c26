"""One shard: a safetensors file of samples, written whole and read sample by sample.

Tensors: `latents` uint8 [N, 3, R, R] or float16 [N, 2 C, h, w]; `text` float16 [U, T, D] of the shard's distinct
captions, `text_rows` int64 [N] says which each sample has; `captions` uint8, UTF-8 of all captions one after the other,
`caption_ends` int64 [N]. Reading is pread into the batch's own memory: nothing is mapped, so a file that vanishes or
shrinks is an error and no crash, and what a process holds is bounded by its batches.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from t2i_api.progress import ExitCode
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.headers.safetensors import LENGTH_BYTES, header_length, parse_header
from t2i_checkpoint.store import READ_BLOCK_BYTES
from t2i_trainer.data.shard_index import Content
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from t2i_checkpoint.tensors import StoredTensor
    from t2i_trainer.data.shard_index import Recipe

_DTYPES = {Content.PIXELS: ("U8", np.dtype(np.uint8)), Content.MOMENTS: ("F16", np.dtype(np.float16))}


@dataclass(frozen=True)
class ShardTensors:
    """A shard before it is written; `text` float16 [U, T, D] of the distinct captions."""

    latents: NDArray[np.generic]
    text: NDArray[np.float16]
    text_rows: Sequence[int]
    captions: Sequence[str]


def write_shard(path: Path, shard: ShardTensors) -> tuple[int, str]:
    """Write a shard file; returns its size and hex SHA-256. The same samples make the same bytes."""
    encoded = [caption.encode("utf-8", "replace") for caption in shard.captions]
    tensors = {
        "latents": np.ascontiguousarray(shard.latents),
        "text": np.ascontiguousarray(shard.text),
        "text_rows": np.array(shard.text_rows, dtype=np.int64),
        "captions": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "caption_ends": np.cumsum([len(each) for each in encoded], dtype=np.int64),
    }
    save_file(tensors, path)
    return path.stat().st_size, file_sha256(path)


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class ShardReader:
    """An open shard; may be used by several threads, and closes with its last user."""

    def __init__(self, path: Path, recipe: Recipe, samples: int, where: str) -> None:
        self._where = where
        self._file = path.open("rb", buffering=0)
        tensors = self._tensors(path.stat().st_size)
        name, dtype = _DTYPES[recipe.content]
        self._latents = self._expect(tensors, "latents", name, (samples, *recipe.sample_shape))
        self._latents_dtype = dtype
        text = tensors.get("text")
        distinct = text.shape[0] if text is not None and text.shape else 0
        self._text = self._expect(tensors, "text", "F16", (distinct, recipe.max_tokens, recipe.text_width))
        rows = self._expect(tensors, "text_rows", "I64", (samples,))
        self._text_rows = np.empty(samples, dtype=np.int64)
        self._read(rows.offset, self._text_rows)
        if samples and not (self._text_rows.min() >= 0 and self._text_rows.max() < distinct):
            raise self._wrong("text_rows points beyond text")
        self._captions = tensors.get("captions"), tensors.get("caption_ends")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read_latents(self, row: int, out: NDArray[np.generic]) -> None:
        """Fill `out`, of the recipe's sample shape and dtype, with one sample."""
        self._read(self._latents.offset + row * out.nbytes, out)

    def read_text(self, row: int, out: NDArray[np.float16]) -> None:
        """Fill `out` float16 [T, D] with a sample's text embedding."""
        self._read(self._text.offset + int(self._text_rows[row]) * out.nbytes, out)

    def captions(self) -> list[str]:
        """Return every sample's caption."""
        text, ends = self._captions
        if text is None or ends is None or text.dtype != "U8" or ends.shape != self._text_rows.shape:
            raise self._wrong("it has no captions")
        places = np.empty(ends.shape, dtype=np.int64)
        raw = np.empty(text.shape, dtype=np.uint8)
        self._read(ends.offset, places)
        self._read(text.offset, raw)
        return [part.tobytes().decode() for part in np.split(raw, places[:-1])]

    def _tensors(self, size: int) -> dict[str, StoredTensor]:
        descriptor = self._file.fileno()
        try:
            length = header_length(os.pread(descriptor, LENGTH_BYTES, 0), file_size=size)
            raw = os.pread(descriptor, length, LENGTH_BYTES)
            return dict(parse_header(raw, length=length, file_size=size, key=self._where, etag="").tensors)
        except HeaderError as error:
            raise self._wrong(error.detail) from error

    def _expect(self, tensors: dict[str, StoredTensor], name: str, dtype: str, shape: tuple[int, ...]) -> StoredTensor:
        found = tensors.get(name)
        if found is None or found.dtype != dtype or tuple(found.shape) != shape:
            what = "is missing" if found is None else f"is {found.dtype} {list(found.shape)}"
            raise self._wrong(f"tensor {name!r} {what}, INDEX.json asks for {dtype} {list(shape)}")
        return found

    def _read(self, offset: int, out: NDArray[np.generic]) -> None:
        if out.nbytes and os.preadv(self._file.fileno(), [out.data.cast("B")], offset) != out.nbytes:
            raise self._wrong("the file ends too early")

    def _wrong(self, what: str) -> TrainerError:
        return TrainerError(ExitCode.DATA_INVALID, f"{self._where}: {what}. Encode this shard anew (docs/data.md)")
