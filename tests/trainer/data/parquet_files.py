"""Real Parquet files in a store, and what the source makes of them."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from t2i_api.spec_model import Data
from t2i_checkpoint.open import Location
from t2i_trainer.data.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from t2i_checkpoint.store import Store
    from t2i_trainer.data.sources import PictureSource, SourceSample

DATA = Data(uri="file:///anywhere", resolution=8)
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def rows(count: int, first: int = 0) -> dict[str, Any]:
    numbers = range(first, first + count)
    return {
        "image": pa.array([{"bytes": f"picture {n}".encode(), "path": f"{n}.png"} for n in numbers], IMAGE),
        "text": [f"caption {n}" for n in numbers],
    }


def file_of(columns: Mapping[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(dict(columns)), buffer, **options)
    return buffer.getvalue()


def table_of(folder: Path) -> pa.Table:
    """What `datasets` makes of an image folder."""
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    pictures = [{"bytes": (folder / line["file_name"]).read_bytes(), "path": line["file_name"]} for line in lines]
    return pa.table({"image": pa.array(pictures, IMAGE), "text": [line["text"] for line in lines]})


def opened(store: Store, data: Data = DATA, key: str | None = None) -> PictureSource:
    return open_source(Location(store, key), data, Path("no scratch folder is needed"))


def read(samples: Iterable[SourceSample]) -> list[tuple[bytes, str | None]]:
    return [(sample.load(), sample.caption) for sample in samples]


def all_of(source: PictureSource) -> list[tuple[bytes, str | None]]:
    return [found for part in source.parts for found in read(part.samples(0))]


def expected(count: int) -> list[tuple[bytes, str]]:
    return [(f"picture {n}".encode(), f"caption {n}") for n in range(count)]


def noise(size: int) -> bytes:
    """Bytes that do not compress, the same each time."""
    return random.Random(size).randbytes(size)  # noqa: S311
