"""Where `t2i data encode` finds captioned pictures: an image folder, tars in webdataset's layout, or Parquet files.

A source is cut into parts that stand by themselves: after a kill nothing of a finished part is read again.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from t2i_api.progress import ExitCode
from t2i_checkpoint.open import PICTURE_SUFFIXES
from t2i_trainer.data.imagefolder import METADATA, BrokenLine, Metadata, read_metadata
from t2i_trainer.data.picture_files import read_picture
from t2i_trainer.data.pictures import BrokenPictureError
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from t2i_api.spec_model import Data
    from t2i_checkpoint.open import Location
    from t2i_checkpoint.store import ObjectInfo, Store

_TAR, _PARQUET = PICTURE_SUFFIXES


@dataclass(frozen=True)
class SourceSample:
    """One captioned picture that is not read yet; `load` returns the file's bytes and may be called by any thread.

    `caption` None: the sample has a fault, which `load` raises as BrokenPictureError.
    """

    where: str
    caption: str | None
    load: Callable[[], bytes]


def broken_sample(where: str, fault: str) -> SourceSample:
    """Make a sample that raises its fault when it is asked for its bytes."""

    def load() -> bytes:
        raise BrokenPictureError(fault)

    return SourceSample(where, None, load)


class Part(Protocol):
    """A stretch of the source."""

    @property
    def etag(self) -> str | None:
        """What the store tells its file from another of the same name by; None for a folder."""

    def samples(self, skip: int) -> Iterator[SourceSample]:
        """Yield the samples in order, without the first `skip`."""


class PictureSource(Protocol):
    """Everything that is to be encoded; `sha256` tells it from another, `count` is None where only reading can tell."""

    @property
    def uri(self) -> str:
        """Where it lies, for people."""

    @property
    def sha256(self) -> str:
        """Hex digest of what names the samples."""

    @property
    def count(self) -> int | None:
        """How many samples there are."""

    @property
    def parts(self) -> Sequence[Part]:
        """The parts, always in the same order."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder with metadata.jsonl; one part, since any line can be gone to."""

    store: Store
    metadata: Metadata

    @property
    def uri(self) -> str:
        """The folder."""
        return self.store.uri

    @property
    def sha256(self) -> str:
        """That of metadata.jsonl."""
        return self.metadata.sha256

    @property
    def count(self) -> int:
        """Lines of metadata.jsonl."""
        return len(self.metadata.lines)

    @property
    def parts(self) -> Sequence[Part]:
        """The folder itself."""
        return (self,)

    @property
    def etag(self) -> None:
        """None: what names the samples is metadata.jsonl, which `sha256` is of."""
        return

    def samples(self, skip: int) -> Iterator[SourceSample]:
        """Yield the lines after `skip`; a picture is read when it is asked for."""
        for line in self.metadata.lines[skip:]:
            if isinstance(line, BrokenLine):
                yield broken_sample(line.where, line.fault)
            else:
                load = functools.partial(self._load, line.key)
                yield SourceSample(f"{self.store.uri}/{line.key}", line.caption, load)

    def _load(self, key: str) -> bytes:
        return read_picture(self.store, key, f"{self.store.uri}/{METADATA}")


def open_source(place: Location, data: Data, scratch: Path, *, skip_broken: bool = False) -> PictureSource:
    """Look at what lies there and open it; raises TrainerError(DATA_INVALID) or StoreError.

    Unless `skip_broken`, a broken line of metadata.jsonl raises BrokenPictureError at once, not when its turn comes.
    Tars win over Parquet files: tools that download pictures into tars leave a table of them beside each.
    """
    store = place.store
    if place.key is None and store.head(METADATA) is not None:
        metadata = read_metadata(store, data)
        if not skip_broken:
            metadata.all_usable()
        return ImageFolder(store, metadata)
    infos = _listed(place)
    if tars := [info for info in infos if info.key.endswith(_TAR)]:
        from t2i_trainer.data.webdataset import WebDataset  # noqa: PLC0415  # it needs SourceSample

        listed = "\n".join(f"{info.key} {info.size}" for info in tars)
        return WebDataset(store, tuple(tars), data, scratch, hashlib.sha256(listed.encode()).hexdigest())
    if tables := [info for info in infos if info.key.endswith(_PARQUET) and not _is_hidden(info.key)]:
        from t2i_trainer.data.parquet import ParquetSet  # noqa: PLC0415  # only who has Parquet pays for pyarrow

        return ParquetSet.open(store, tables, data)
    where = store.uri if place.key is None else f"{store.uri}/{place.key}"
    raise TrainerError(
        ExitCode.DATA_INVALID,
        f"{where} holds neither {METADATA} (an image folder) nor *{_TAR} (webdataset) nor *{_PARQUET}: "
        "name the folder that does",
    )


def _listed(place: Location) -> Sequence[ObjectInfo]:
    """Return the one file that is named, or what lies in the folder; a folder can be named like a file."""
    if place.key is None:
        return list(place.store.list(""))
    info = place.store.head(place.key)
    return list(place.store.list(f"{place.key}/")) if info is None else [info]


def _is_hidden(key: str) -> bool:
    """Whether Arrow's own readers pass it over: what is being written, or belongs to a tool."""
    return any(part.startswith((".", "_")) for part in key.split("/"))
