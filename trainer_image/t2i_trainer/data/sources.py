"""Where `t2i data encode` finds captioned pictures: an image folder, or tars in webdataset's layout.

A source is cut into parts that stand by themselves: after a kill nothing of a finished part is read again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from t2i_api.progress import ExitCode
from t2i_trainer.data.imagefolder import METADATA, Metadata, read_metadata
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from t2i_api.spec_model import Data
    from t2i_checkpoint.store import Store

_TAR, _PARQUET = ".tar", ".parquet"


@dataclass(frozen=True)
class SourceSample:
    """One captioned picture that is not read yet; `load` returns the file's bytes and may be called by any thread.

    `caption` None: the sample has a fault, which `load` raises as BrokenPictureError.
    """

    where: str
    caption: str | None
    load: Callable[[], bytes]


class Part(Protocol):
    """A stretch of the source."""

    def samples(self, skip: int) -> Iterator[SourceSample]:
        """Yield the samples in order, without the first `skip`."""


class PictureSource(Protocol):
    """Everything that is to be encoded; `sha256` tells it from another, `count` is None where only reading can tell."""

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
    def sha256(self) -> str:
        """That of metadata.jsonl."""
        return self.metadata.sha256

    @property
    def count(self) -> int:
        """Lines of metadata.jsonl."""
        return len(self.metadata.files)

    @property
    def parts(self) -> Sequence[Part]:
        """The folder itself."""
        return (self,)

    def samples(self, skip: int) -> Iterator[SourceSample]:
        """Yield the lines after `skip`; a picture is read when it is asked for."""
        for file in self.metadata.files[skip:]:
            yield SourceSample(f"{self.store.uri}/{file.key}", file.caption, lambda key=file.key: self.store.read(key))  # type: ignore[misc]  # mypy sees no bound default


def open_source(store: Store, data: Data, scratch: Path) -> PictureSource:
    """Look at what lies there and open it; raises TrainerError(DATA_INVALID) or StoreError."""
    if store.head(METADATA) is not None:
        return ImageFolder(store, read_metadata(store, data))
    infos = list(store.list(""))
    tars = [info for info in infos if info.key.endswith(_TAR)]
    if tars:
        from t2i_trainer.data.webdataset import WebDataset  # noqa: PLC0415  # it needs SourceSample

        listed = "\n".join(f"{info.key} {info.size}" for info in tars)
        return WebDataset(store, tuple(tars), data, scratch, hashlib.sha256(listed.encode()).hexdigest())
    if any(info.key.endswith(_PARQUET) for info in infos):
        raise TrainerError(
            ExitCode.DATA_INVALID,
            f"{store.uri} holds Parquet files, for which this installation has no reader (pyarrow). Write them out as "
            "an image folder with metadata.jsonl, e.g. by `datasets.load_dataset(…)` and `Dataset.to_json`, or as tars",
        )
    raise TrainerError(
        ExitCode.DATA_INVALID,
        f"{store.uri} holds neither {METADATA} (an image folder) nor *{_TAR} (webdataset): name the folder that does",
    )
