"""Captioned pictures in Parquet files, as Hugging Face's datasets are published: a row holds a picture and its caption.

Read in place by ranged requests, page by page and only the two columns that count: neither the disk nor the memory ever
holds a file, and a run that goes on skips the row groups before its first row. Rows are counted from 0, as pandas does.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from t2i_api.progress import ExitCode
from t2i_trainer.data.object_file import ObjectFile
from t2i_trainer.data.parquet_columns import Columns, caption_in, choose_columns, picture_in
from t2i_trainer.data.picture_files import read_picture
from t2i_trainer.data.sources import SourceSample, broken_sample
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from t2i_api.spec_model import Data
    from t2i_checkpoint.store import ObjectInfo, Store

_CONCURRENT_FOOTERS = 16
_BLOCK_BYTES = 8 * 1024 * 1024  # a request's size while a column is read
_ROWS_AT_A_TIME = 32
# A footer says how much memory its own reading takes.
_MOST_FOOTER_BYTES = 64 * 1024 * 1024
_MOST_FOOTER_ENTRIES = 1_000_000


@dataclass(frozen=True)
class ParquetSet:
    """All files of a set, in the order of their keys; one part a file."""

    uri: str
    sha256: str
    parts: tuple[ParquetPart, ...]

    @property
    def count(self) -> int:
        """Rows, as the footers tell."""
        return sum(part.rows for part in self.parts)

    @classmethod
    def open(cls, store: Store, files: Sequence[ObjectInfo], data: Data) -> Self:
        """Read the footers, several at a time; raises TrainerError for any file that cannot be used, StoreError."""
        with ThreadPoolExecutor(_CONCURRENT_FOOTERS, thread_name_prefix="footers") as pool:
            parts = tuple(pool.map(lambda info: ParquetPart.open(store, info, data), files))
        listed = [f"{part.info.key} {part.info.size} {part.columns.image} {part.columns.caption}" for part in parts]
        return cls(store.uri, hashlib.sha256("\n".join(listed).encode()).hexdigest(), parts)


@dataclass(frozen=True)
class ParquetPart:
    """One file."""

    store: Store
    info: ObjectInfo
    columns: Columns
    rows: int

    @classmethod
    def open(cls, store: Store, info: ObjectInfo, data: Data) -> Self:
        """Read the footer and find the columns; raises TrainerError, StoreError."""
        with _opened(store, info) as file:
            columns = choose_columns(file.schema_arrow, data, f"{store.uri}/{info.key}")
            return cls(store, info, columns, file.metadata.num_rows)

    @property
    def etag(self) -> str:
        """The file's, as it was listed."""
        return self.info.etag

    def samples(self, skip: int) -> Iterator[SourceSample]:
        """Yield the rows after `skip`; a picture that lies in a file of its own is read when it is asked for."""
        first = 0
        with _opened(self.store, self.info) as file:
            for number in range(file.num_row_groups):
                group = _RowGroup(number, first, file.metadata.row_group(number).num_rows)
                if group.end > skip:
                    yield from self._samples_of(file, group, skip)
                first = group.end

    def _samples_of(self, file: ParquetFile, group: _RowGroup, skip: int) -> Iterator[SourceSample]:
        where = f"{self._where}, row group {group.number} (rows {group.first} to {group.end - 1}),"
        image, caption = self.columns.image, self.columns.caption
        row = group.first
        with _faults_named(where):
            for batch in file.iter_batches(_ROWS_AT_A_TIME, [group.number], [image, caption], use_threads=False):
                images, captions = batch.column(image), batch.column(caption)
                for place in range(max(skip - row, 0), batch.num_rows):
                    yield self._sample(row + place, images[place], captions[place])
                row += batch.num_rows
        if row != group.end:
            raise _damaged(where, f"{row - group.first} rows are there")

    def _sample(self, row: int, image: pa.Scalar, caption: pa.Scalar) -> SourceSample:
        where = f"{self._where} row {row}"
        try:
            picture, text = picture_in(image.as_py()), caption_in(caption.as_py())
        except UnicodeDecodeError as error:
            return broken_sample(where, f"{where}: text in it is no UTF-8: {error}")
        if text is None:
            return broken_sample(where, f"{where} has no caption in column {self.columns.caption!r}")
        if picture is None:
            return broken_sample(where, f"{where} has no picture in column {self.columns.image!r}")
        if isinstance(picture, str):
            key = posixpath.normpath(posixpath.join(posixpath.dirname(self.info.key), picture))
            return SourceSample(where, text, lambda: read_picture(self.store, key, where))
        return SourceSample(where, text, lambda: picture)

    @property
    def _where(self) -> str:
        return f"{self.store.uri}/{self.info.key}"


@dataclass(frozen=True)
class _RowGroup:
    number: int
    first: int  # row of the file
    rows: int

    @property
    def end(self) -> int:
        """The row after the last."""
        return self.first + self.rows


@contextlib.contextmanager
def _opened(store: Store, info: ObjectInfo) -> Iterator[ParquetFile]:
    with contextlib.ExitStack() as stack:
        with _faults_named(f"{store.uri}/{info.key}"):
            file = ParquetFile(
                stack.enter_context(ObjectFile(store, info)),
                buffer_size=_BLOCK_BYTES,
                pre_buffer=False,  # it would hold a whole row group
                page_checksum_verification=True,
                thrift_string_size_limit=_MOST_FOOTER_BYTES,
                thrift_container_size_limit=_MOST_FOOTER_ENTRIES,
                arrow_extensions_enabled=False,
            )
        yield file


@contextlib.contextmanager
def _faults_named(where: str) -> Iterator[None]:
    """Turn what pyarrow raises into TrainerError; a StoreError of the reading below it passes unchanged."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(where, error) from error


def _damaged(where: str, fault: Any) -> TrainerError:
    what = " ".join(str(fault).split())
    return TrainerError(ExitCode.DATA_INVALID, f"{where} is damaged, or no Parquet: {what}. Write the file anew")
