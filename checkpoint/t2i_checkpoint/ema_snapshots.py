"""Power-function averages that outlive the checkpoints they were part of: `ema/step-…-<writer>/` below checkpoint.uri.

Any width of average can be made of them afterwards. Retention copies them on the store's side before it deletes their
checkpoint (decision 0179), so that none is lost and none is stored twice; `SNAPSHOT.json`, written last, makes a
snapshot exist.
"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from t2i_checkpoint import layout
from t2i_checkpoint.discovery import candidates
from t2i_checkpoint.ema_history import (
    SnapshotDocument,
    document_of,
    is_due,
    is_on_the_way,
    may_be_near,
    way_to_the_newest,
)
from t2i_checkpoint.listing import list_bounded
from t2i_checkpoint.manifest import ManifestError, read_manifest
from t2i_checkpoint.power_average import SNAPSHOTS, width_of_file
from t2i_checkpoint.store import StoreError, create_or_confirm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from t2i_checkpoint.manifest import Manifest, ManifestFile
    from t2i_checkpoint.store import ObjectInfo, Store

logger = logging.getLogger("t2i_checkpoint")

DOCUMENT: Final = "SNAPSHOT.json"
CONFIG: Final = "config.json"
_MAX_DOCUMENT_BYTES = 1024 * 1024


class StoredProfile(NamedTuple):
    """One average in a store; `config_key` is the UNet's config."""

    step: int
    width: float
    key: str
    size: int
    sha256: str
    config_key: str


class _Stored(NamedTuple):
    """Averages that lie in the folder `below`."""

    document: SnapshotDocument
    below: str
    config_key: str


def keep_ema_snapshot(store: Store, manifest: Manifest, newest: Manifest) -> bool:
    """Copy the averages of a checkpoint that `newest` makes superfluous to `ema/`; whether they lie there now.

    They do not where it has none, where `newest` is of another past, and where a snapshot of hardly fewer steps is
    there. Killed at any instant, the same call does the rest. Raises StoreError: the checkpoint must stay then.
    """
    taken = document_of(manifest)
    if not taken.files or not is_on_the_way(taken, document_of(newest)) or not _is_due(store, taken):
        return False
    source = layout.checkpoint_folder(manifest.step, manifest.writer)
    config = manifest.file(layout.WEIGHTS_CONFIG)
    found = {file: store.head(f"{source}/{file.path}") for file in (*taken.files, *([config] if config else []))}
    lost = [file.path for file, info in found.items() if info is None or info.size != file.size]
    if lost:  # which no later try would bring back
        logger.warning("%s/%s/%s is not as it was written: its averages are not kept", store.uri, source, lost[0])
        return False
    folder = f"{SNAPSHOTS}{source.removeprefix(layout.CHECKPOINTS)}"
    _write(store, folder, taken, {file: info for file, info in found.items() if info is not None})
    return True


def stored_profiles(store: Store) -> tuple[StoredProfile, ...]:
    """Return the averages on the way to the checkpoint that was taken last, oldest step first. Raises StoreError."""
    # Where both are there, because a deletion was cut off, the snapshot is what stays.
    stored = [*_in_checkpoints(store), *_in_snapshots(store)]
    way = [stored[place] for place in way_to_the_newest([each.document for each in stored])]
    return tuple(sorted(profile for each in way for profile in _profiles(each)))


def _profiles(stored: _Stored) -> Iterator[StoredProfile]:
    for file in stored.document.files:
        width = width_of_file(file.path)
        if width is not None:
            key = f"{stored.below}/{PurePosixPath(file.path).name}"
            yield StoredProfile(stored.document.step, width, key, file.size, file.sha256, stored.config_key)


def _is_due(store: Store, taken: SnapshotDocument) -> bool:
    """Ask only the few documents that can matter: this goes on beside the training, after many a save."""
    near = {folder: step for folder, step in _snapshot_folders(store).items() if may_be_near(step, taken.step)}
    return is_due(taken, (document for folder in near if (document := _read_document(store, folder)) is not None))


def _write(store: Store, folder: str, document: SnapshotDocument, found: Mapping[ManifestFile, ObjectInfo]) -> None:
    key, content = f"{folder}/{DOCUMENT}", document.to_json()
    if store.head(key) is not None:
        if store.read(key, 0, len(content) + 1) == content:
            return
        store.delete([key])  # of another run, under the same name: never a document above a mixture
    for file, info in found.items():
        # The folder's name holds the writer's: a copy in parts that was broken off there is our own.
        target = f"{folder}/{PurePosixPath(file.path).name}"
        store.copy(info.key, target, source_etag=info.etag, exclusive=True)
    sizes = {info.key: info.size for info in list_bounded(store, f"{folder}/")}
    for file in found:
        target = f"{folder}/{PurePosixPath(file.path).name}"
        if sizes.get(target) != file.size:
            raise StoreError(
                f"it should have become {target} of {file.size} bytes and did not",
                uri=store.uri,
                operation="copy",
                key=found[file].key,
                way_out="Look whether another program deletes below checkpoint.uri",
            )
    create_or_confirm(store, key, content)
    logger.info("%s/%s keeps the averages of step %d", store.uri, folder, document.step)


def _in_snapshots(store: Store) -> Iterator[_Stored]:
    for folder in _snapshot_folders(store):
        document = _read_document(store, folder)
        if document is not None:
            yield _Stored(document, folder, f"{folder}/{CONFIG}")


def _snapshot_folders(store: Store) -> dict[str, int]:
    """Return the folders of snapshots that exist, with the steps that their names tell."""
    folders = {}
    for info in list_bounded(store, SNAPSHOTS):
        folder, _, file = info.key.rpartition("/")
        name = layout.parse_name(folder.removeprefix(SNAPSHOTS))
        if file == DOCUMENT and name is not None and name.is_own:
            folders[folder] = name.step
    return folders


def _read_document(store: Store, folder: str) -> SnapshotDocument | None:
    key = f"{folder}/{DOCUMENT}"
    try:
        return SnapshotDocument.model_validate_json(store.read(key, 0, _MAX_DOCUMENT_BYTES))
    except ValidationError:
        logger.warning("%s/%s is no snapshot's document and is left alone", store.uri, key)
        return None


def _in_checkpoints(store: Store) -> Iterator[_Stored]:
    for each in candidates(list_bounded(store, layout.CHECKPOINTS)):
        folder, has_profiles = each.folder.folder, any(width_of_file(path) is not None for path in each.objects)
        if not each.folder.is_own or not has_profiles or layout.DAMAGED in each.objects:
            continue
        try:
            manifest = read_manifest(store, folder)
        except ManifestError:
            continue
        if manifest is not None:
            yield _Stored(document_of(manifest), f"{folder}/ema_power", f"{folder}/{layout.WEIGHTS_CONFIG}")
