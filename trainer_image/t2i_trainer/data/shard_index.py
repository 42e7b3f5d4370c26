"""`INDEX.json` of a shard set: what made it, and each shard with size and hash; it is written last and create-only.

A set without it does not exist. The index never says where latents lie relative to a job: `shard_fit.py` compares.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from t2i_api.progress import ExitCode
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from t2i_checkpoint.store import Store

INDEX, RECIPE, NULL_EMBEDDING, SHARD_FOLDER = "INDEX.json", "ENCODING.json", "null-embedding.safetensors", "shards"
MAXIMUM_INDEX_BYTES = 64 * 1024 * 1024
_MAXIMUM_SMALL_BYTES = 1024 * 1024
# How many pictures are passed to the autoencoder at once; it can change the last bits, so it is part of the recipe.
ENCODING_BATCH = 16
_NAMED_FAULTS = 100

Document = TypeVar("Document", bound=BaseModel)
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[int, Field(ge=1, lt=2**31)]
FilePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}$")]


class Content(StrEnum):
    """What a shard holds of each picture."""

    PIXELS = "Pixels"
    MOMENTS = "Moments"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Recipe(_Model):
    """What made the shards; two sets with equal recipes hold the same samples.

    `sample_shape` is uint8 [3, R, R] or float16 [2 C, h, w] (mean and log-variance). The hashes of models are those of
    their weights files, so the same model from another place fits.
    """

    source_sha256: Sha256
    image_field: str = "file_name"
    caption_field: str = "text"
    content: Content
    resolution: Size
    sample_shape: tuple[Size, Size, Size]
    vae_sha256: Sha256 | None = None
    text_encoder_sha256: Sha256
    max_tokens: Size
    text_width: Size
    samples_per_shard: Size
    encoding_batch: Size = ENCODING_BATCH
    skip_broken: bool = False

    def differences(self, other: Recipe) -> list[str]:
        """Return `field: mine, theirs` for each field in which this recipe cannot go on with a set of the other's.

        Whoever leaves out broken samples goes on where none was left out: each shard there has all of its samples.
        """
        mine, theirs = self.model_dump(by_alias=True), other.model_dump(by_alias=True)
        if self.skip_broken:
            theirs["skipBroken"] = True
        return [f"{name}: {mine[name]}, there {theirs[name]}" for name in mine if mine[name] != theirs[name]]


class StoredFile(_Model):
    """A file of the set; `path` relative to its folder, size in bytes."""

    path: FilePath
    size: Count
    sha256: Sha256


class Shard(StoredFile):
    """A safetensors file of samples."""

    samples: Size


class ShardRecord(_Model):
    """Written after a shard, create-only: so much is done. `shard` None: all its samples were broken.

    `broken` names the first of `broken_count` samples that were left out; `is_last` ends a part of the source, whose
    file had `part_etag` then (None: a folder, or a record of an older version).
    """

    shard: Shard | None
    broken_count: Count = 0
    broken: tuple[str, ...] = ()
    is_last: bool
    part_etag: str | None = None

    @classmethod
    def of(cls, shard: Shard | None, broken: list[str], *, is_last: bool, part_etag: str | None) -> Self:
        """Make one, with as many names as a small file holds."""
        named = tuple(each[:500] for each in broken[:_NAMED_FAULTS])
        return cls(shard=shard, broken_count=len(broken), broken=named, is_last=is_last, part_etag=part_etag)

    def is_of(self, part_etag: str | None) -> bool:
        """Whether it was made from the file that lies there now, as far as is known."""
        return self.part_etag in {None, part_etag}


class ShardIndex(_Model):
    """Version 1 of the index; an unknown version is refused."""

    format: Literal["t2i.dev/shards"] = "t2i.dev/shards"
    version: Literal[1] = 1
    recipe: Recipe
    null_embedding: StoredFile
    window_shards: Size
    broken_count: Count = 0
    shards: Annotated[tuple[Shard, ...], Field(min_length=1, max_length=1_000_000)]

    @model_validator(mode="after")
    def _paths_stay_inside(self) -> Self:
        paths = [each.path for each in (*self.shards, self.null_embedding)]
        if len(set(paths)) < len(paths) or any(part in {"", ".", ".."} for path in paths for part in path.split("/")):
            raise ValueError("a path is listed twice, or leads out of the folder")
        return self

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Samples of each shard."""
        return np.array([shard.samples for shard in self.shards], dtype=np.int64)

    @property
    def samples(self) -> int:
        """Samples of all shards."""
        return int(self.counts.sum())


def to_json(document: BaseModel) -> bytes:
    """Serialise: stable, readable, camelCase."""
    return (json.dumps(document.model_dump(mode="json", by_alias=True), indent=1) + "\n").encode()


def read_index(store: Store) -> tuple[ShardIndex, str] | None:
    """Return the index and its hex SHA-256, or None where there is none; raises TrainerError, StoreError."""
    info = store.head(INDEX)
    if info is None:
        return None
    if info.size > MAXIMUM_INDEX_BYTES:
        raise _invalid(store, INDEX, f"has {info.size} bytes, at most {MAXIMUM_INDEX_BYTES} are read")
    raw = store.read(INDEX, 0, MAXIMUM_INDEX_BYTES, etag=info.etag)
    return parse(store, INDEX, raw, ShardIndex), hashlib.sha256(raw).hexdigest()


def parse(store: Store, key: str, raw: bytes, kind: type[Document]) -> Document:
    """Check a document of a shard set; raises TrainerError(DATA_INVALID)."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise _invalid(store, key, f"{where}: {first['msg']}") from error


def read_small(store: Store, key: str, kind: type[Document]) -> Document:
    """Read and check a small document; raises TrainerError(DATA_INVALID), StoreError."""
    return parse(store, key, store.read(key, 0, _MAXIMUM_SMALL_BYTES), kind)


def record_key(part: int, number: int) -> str:
    """Return where the record of a shard lies."""
    return f"{SHARD_FOLDER}/{part:05d}-{number:05d}.json"


def shard_key(part: int, number: int) -> str:
    """Return where a shard lies: its place in the source, so that a second run meets the first one's."""
    return f"{SHARD_FOLDER}/{part:05d}-{number:05d}.safetensors"


def _invalid(store: Store, key: str, what: str) -> TrainerError:
    return TrainerError(
        ExitCode.DATA_INVALID,
        f"{store.uri}/{key}: {what}. This version of `t2i data encode` did not write it: encode into another folder",
    )
