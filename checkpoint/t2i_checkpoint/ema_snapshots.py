"""Power-function averages that outlive the checkpoints they were part of: `ema/step-…-<writer>/` below checkpoint.uri.

Any width of average can be made of them afterwards. They are copied on the store's side right after a checkpoint is
committed and before an older one is retired; `SNAPSHOT.json`, written last, makes a snapshot exist.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime  # pydantic resolves the annotation at run time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from t2i_checkpoint import layout
from t2i_checkpoint.listing import list_bounded
from t2i_checkpoint.manifest import Count, Manifest, ManifestError, ManifestFile, Sha256, read_manifest
from t2i_checkpoint.power_average import SNAPSHOTS, width_of_file
from t2i_checkpoint.store import StoreError, create_or_confirm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from t2i_checkpoint.store import Store

logger = logging.getLogger("t2i_checkpoint")

DOCUMENT: Final = "SNAPSHOT.json"
CONFIG: Final = "config.json"
# Profiles are as wide as the run is long, so snapshots may lie further apart the later they are: 53 of them between 1 %
# and 100 % of a run give widths of 0.05 to 0.25 back within 1.3 % (from profiles of 0.05 and 0.10).
SPACING: Final = 1.05
_MAX_DOCUMENT_BYTES = 1024 * 1024


class Lineage(NamedTuple):
    """What snapshots that are combined must have in common: model, meaning and run."""

    architecture_fingerprint: str
    prediction_type: str
    noise_schedule: str
    latent_scale: float
    seed: int
    global_batch_size: int


class SnapshotDocument(BaseModel):
    """`SNAPSHOT.json`: which averages lie beside it, and of which run and step they are."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    format: Literal["t2i.dev/ema-snapshot"] = "t2i.dev/ema-snapshot"
    version: Literal[1] = 1
    step: Count
    created_at: datetime
    architecture_fingerprint: Sha256
    prediction_type: str
    noise_schedule: str
    latent_scale: float
    seed: int
    global_batch_size: Count
    files: tuple[ManifestFile, ...] = Field(max_length=16)

    @property
    def lineage(self) -> Lineage:
        """What it must have in common with others."""
        return Lineage(*(getattr(self, field) for field in Lineage._fields))


class StoredProfile(NamedTuple):
    """One average in a store; `config_key` is the UNet's config."""

    step: int
    width: float
    key: str
    size: int
    sha256: str
    config_key: str


def keep_ema_snapshots(store: Store, manifest: Manifest) -> bool:
    """Copy a committed checkpoint's power profiles to `ema/`, if it has any and a snapshot is due; whether one was.

    Repeating it is harmless. Raises StoreError.
    """
    source = layout.checkpoint_folder(manifest.step, manifest.writer)
    profiles = [file for file in manifest.files if width_of_file(file.path) is not None]
    if not profiles or not _is_due(manifest, _documents(store)):
        return False
    folder = f"{SNAPSHOTS}step-{manifest.step:08d}-{manifest.writer}"
    config = manifest.file(layout.WEIGHTS_CONFIG)
    for file in (*profiles, *(() if config is None else (config,))):
        _copy(store, f"{source}/{file.path}", f"{folder}/{PurePosixPath(file.path).name}", file.size)
    document = SnapshotDocument(
        step=manifest.step,
        created_at=manifest.created_at,
        files=tuple(profiles),
        **{field: getattr(manifest, field) for field in Lineage._fields},
    )
    text = json.dumps(document.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True)
    create_or_confirm(store, f"{folder}/{DOCUMENT}", (text + "\n").encode())
    return True


def stored_profiles(store: Store) -> tuple[StoredProfile, ...]:
    """Return the averages of the run that wrote last, oldest step first: of snapshots and of checkpoints.

    Where a step was taken more than once, after a resume, the later one counts. Raises StoreError.
    """
    documents = {folder: (document, "") for folder, document in _documents(store).items()}
    documents.update({folder: (document, "ema_power/") for folder, document in _checkpoints(store)})
    if not documents:
        return ()
    newest, _ = max(documents.values(), key=lambda each: each[0].created_at)
    chosen: dict[tuple[int, float], StoredProfile] = {}
    for folder, (document, below) in sorted(documents.items(), key=lambda each: each[1][0].created_at):
        if document.lineage != newest.lineage or document.step > newest.step:
            continue
        for file in document.files:
            width = width_of_file(file.path)
            if width is not None:
                key = f"{folder}/{below}{PurePosixPath(file.path).name}"
                config = f"{folder}/{layout.WEIGHTS_CONFIG if below else CONFIG}"
                chosen[document.step, width] = StoredProfile(document.step, width, key, file.size, file.sha256, config)
    return tuple(chosen[place] for place in sorted(chosen))


def _is_due(manifest: Manifest, known: dict[str, SnapshotDocument]) -> bool:
    lineage = Lineage(*(getattr(manifest, field) for field in Lineage._fields))
    steps = [each.step for each in known.values() if each.lineage == lineage and each.step < manifest.step]
    return manifest.step > 0 and manifest.step >= SPACING * max(steps, default=0)


def _copy(store: Store, source: str, target: str, size: int) -> None:
    there = store.head(target)
    if there is not None and there.size == size:
        return
    found = store.head(source)
    if found is not None:
        store.copy(source, target, source_etag=found.etag)
    copied = store.head(target)
    if copied is None or copied.size != size:
        raise StoreError(
            f"it should have become {target} of {size} bytes and did not",
            uri=store.uri,
            operation="copy",
            key=source,
            way_out="Look whether another program deletes below checkpoint.uri",
        )


def _documents(store: Store) -> dict[str, SnapshotDocument]:
    keys = [info.key for info in list_bounded(store, SNAPSHOTS) if info.key.endswith(f"/{DOCUMENT}")]
    found = {}
    for key in keys:
        try:
            document = SnapshotDocument.model_validate_json(store.read(key, 0, _MAX_DOCUMENT_BYTES))
        except ValidationError:
            logger.warning("%s/%s is no snapshot's document and is left alone", store.uri, key)
            continue
        found[key.removesuffix(f"/{DOCUMENT}")] = document
    return found


def _checkpoints(store: Store) -> Iterator[tuple[str, SnapshotDocument]]:
    for folder in sorted(_with_profiles(info.key for info in list_bounded(store, layout.CHECKPOINTS))):
        try:
            manifest = read_manifest(store, folder)
        except ManifestError:
            continue
        if manifest is not None:
            fields = {field: getattr(manifest, field) for field in Lineage._fields}
            yield (
                folder,
                SnapshotDocument(step=manifest.step, created_at=manifest.created_at, files=_few(manifest), **fields),
            )


def _few(manifest: Manifest) -> tuple[ManifestFile, ...]:
    return tuple(file for file in manifest.files if width_of_file(file.path) is not None)[:16]


def _with_profiles(keys: Iterable[str]) -> set[str]:
    folders = set()
    for key in keys:
        found = layout.folder_of(key)
        if found is not None and found.is_own and width_of_file(key.removeprefix(f"{found.folder}/")) is not None:
            folders.add(found.folder)
    return folders
