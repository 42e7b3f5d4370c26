"""`MANIFEST.json`: a checkpoint exists exactly when its manifest does; it is written last and create-only.

Written by the trainer, read by everybody. It tells what headers cannot: the order of parameters, what the weights
mean (prediction type, schedule, latent scale, null embedding), and where in the data the run stood.
"""

from __future__ import annotations

import json
import re
from datetime import datetime  # pydantic resolves the annotation at run time
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from t2i_api.status import VerdictKind
from t2i_checkpoint.headers.bounded_json import parse_object
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.layout import DAMAGED, MANIFEST
from t2i_checkpoint.listing import list_bounded
from t2i_checkpoint.store import StoreError, create_or_confirm

if TYPE_CHECKING:
    from typing import Self

    from t2i_checkpoint.store import Store

MAX_MANIFEST_BYTES = 1024 * 1024
_RELATIVE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False, protected_namespaces=()
    )


class ManifestFile(_Model):
    """A file of the checkpoint, `path` relative to its folder; sizes in bytes.

    `header_bytes` of a safetensors file (the 8 length bytes included) lets a reader fetch its header in one request;
    `architecture_fingerprint` is that of its tensors, so that not every header must be read to judge it.
    """

    path: Annotated[str, StringConstraints(max_length=512)]
    size: Count
    sha256: Sha256
    header_bytes: Count | None = None
    architecture_fingerprint: Sha256 | None = None

    @model_validator(mode="after")
    def _path_stays_inside(self) -> Self:
        if not _RELATIVE.fullmatch(self.path) or self.path == MANIFEST:
            raise ValueError(f"file path {self.path!r} is not a plain path inside the checkpoint")
        return self


class RankFacts(_Model):
    """What one rank measured when the checkpoint was taken: equal weights on all, different noise on each."""

    rank: Count
    weights_sha256: Sha256
    noise_sha256: Sha256


class StepSpan(_Model):
    """Steps `first` to `last`."""

    first: Count
    last: Count


class InitialWeightsFacts(_Model):
    """Where a run's first weights came from; `fresh` names the parameters that started from random values.

    `folder` is relative to `uri`, empty where the URI itself is the checkpoint.
    """

    uri: str
    folder: str = ""
    step: Count | None = None
    verdict: VerdictKind
    fresh: tuple[str, ...] = ()


class Manifest(_Model):
    """Version 1 of the checkpoint manifest. Unknown fields are kept out, unknown versions are refused.

    `rolled_back` are the steps that the run had gone back from when it was taken: what else was stored of them is of
    another past than this.
    """

    format: Literal["t2i.dev/checkpoint"] = "t2i.dev/checkpoint"
    version: Literal[1] = 1
    step: Count
    writer: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    created_at: datetime
    files: Annotated[tuple[ManifestFile, ...], Field(min_length=1, max_length=1000)]

    architecture_fingerprint: Sha256
    parameter_order: tuple[str, ...]

    samples_seen: Count
    epoch: Count
    position_in_epoch: Count
    world_size: Annotated[int, Field(ge=1)]
    global_batch_size: Annotated[int, Field(ge=1)]
    seed: int

    prediction_type: str
    noise_schedule: str
    latent_scale: float
    null_embedding_sha256: Sha256 | None

    library_versions: dict[str, str]
    ranks: tuple[RankFacts, ...] = ()
    rolled_back: Annotated[tuple[StepSpan, ...], Field(max_length=1000)] | None = None

    model_config_sha256: Sha256 | None = None
    initial_weights: InitialWeightsFacts | None = None

    @model_validator(mode="after")
    def _paths_are_unique(self) -> Self:
        if len({file.path for file in self.files}) != len(self.files):
            raise ValueError("a file is listed twice")
        return self

    def file(self, path: str) -> ManifestFile | None:
        """Return the entry of `path`, or None where it is not listed."""
        return next((file for file in self.files if file.path == path), None)

    def to_json(self) -> bytes:
        """Serialise: stable, readable, camelCase."""
        document = self.model_dump(mode="json", by_alias=True, exclude_none=False)
        return (json.dumps(document, indent=1) + "\n").encode()


class ManifestError(Exception):
    """A manifest cannot be believed, or a checkpoint may not be committed; `reason` is a CamelCase constant."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def parse_manifest(raw: bytes) -> Manifest:
    """Check and return a manifest; raises ManifestError."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ManifestError("ManifestTooLarge", f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        document = parse_object(raw)
    except HeaderError as error:
        raise ManifestError("ManifestInvalid", f"{MANIFEST} is {error.detail}") from error
    if document.get("version") != 1:
        shown = str(document.get("version"))[:20]
        raise ManifestError("ManifestVersionUnknown", f"{MANIFEST} has version {shown}, this program reads 1")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ManifestError("ManifestInvalid", f"{MANIFEST}: {where}: {first['msg']}") from error


def read_manifest(store: Store, folder: str) -> Manifest | None:
    """Return the manifest of `folder`, or None where the checkpoint was never committed."""
    key = f"{folder}/{MANIFEST}"
    if store.head(key) is None:
        return None
    return parse_manifest(store.read(key, 0, MAX_MANIFEST_BYTES + 1))


def commit(store: Store, folder: str, manifest: Manifest) -> None:
    """Make the checkpoint exist: check that every listed file is there with its size, then write the manifest.

    Create-only; a repeat with the same content is no error. Raises ManifestError if a file is missing or short or the
    folder is marked as damaged, and AlreadyExists if another manifest was committed there.
    """
    raw = manifest.to_json()
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ManifestError("ManifestTooLarge", f"{len(raw)} bytes, at most {MAX_MANIFEST_BYTES}")
    sizes = {info.key.removeprefix(f"{folder}/"): info.size for info in list_bounded(store, f"{folder}/")}
    for file in manifest.files:
        if sizes.get(file.path) != file.size:
            found = "is not there" if file.path not in sizes else f"has {sizes[file.path]} bytes"
            raise ManifestError("FilesMissing", f"{folder}/{file.path} {found}, {file.size} bytes were written")
    if DAMAGED in sizes:
        raise ManifestError("Damaged", f"{folder}/{DAMAGED} is there: nobody would resume from what is committed there")
    create_or_confirm(store, f"{folder}/{MANIFEST}", raw)


def remove_checkpoint(store: Store, folder: str) -> None:
    """Delete a checkpoint that is no longer wanted (retention): manifest first, so that no half of it ever looks whole.

    Killed midway, the rest lies there as `incomplete` and the same call finishes it.
    """
    keys = sorted(
        (info.key for info in list_bounded(store, f"{folder}/")), key=lambda key: key != f"{folder}/{MANIFEST}"
    )
    if keys[:1] == [f"{folder}/{MANIFEST}"]:
        store.delete(keys[:1])
        if store.head(keys[0]) is not None:
            raise StoreError(
                "the manifest is still there after its deletion",
                uri=store.uri,
                operation="delete",
                key=keys[0],
                way_out="Nothing else was deleted; check the bucket's retention rules",
            )
        keys = keys[1:]
    store.delete(keys)
