"""Which checkpoints are kept: the newest of this very run, never one that something else could still need.

Runs only after a checkpoint was committed and read back, by a save or by the resume from it. Looks at nothing newer
than that one: after a resume from an older step, later folders belong to a history that somebody may want to see.

A checkpoint that is marked as damaged is neither deleted nor counted; if the newest one itself is, nothing is due.

A folder is marked before anything of it is deleted and the mark goes last, so that a deletion which was cut off is
finished by the next one, and nobody mistakes the rest for a save that was cut off. The mark names the run: that of
another one, or one that says nothing, lets nothing be deleted.

Power-function averages outlive their checkpoint: they are copied to `ema/` before the mark is written, and where that
fails the checkpoint stays, to be tried again after the next save.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.archive import ArchiveError
from t2i_checkpoint.archive_reference import archived_references
from t2i_checkpoint.ema_history import document_of, is_on_the_way
from t2i_checkpoint.ema_snapshots import keep_ema_snapshot
from t2i_checkpoint.headers.bounded_json import parse_object
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.listing import list_bounded
from t2i_checkpoint.manifest import Manifest, ManifestError, read_manifest
from t2i_checkpoint.store import AlreadyExists, StoreError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from t2i_checkpoint.layout import FolderName
    from t2i_checkpoint.store import Store
    from t2i_trainer.checkpointing.other_writers import OtherWriters

logger = logging.getLogger("t2i_trainer")

_MAX_MARK_BYTES = 4096


def retire_checkpoints(
    store: Store, newest: Manifest, retain: int, watch: OtherWriters | None = None
) -> tuple[str, ...]:
    """Delete own committed checkpoints of the same model beyond the `retain` newest; returns the deleted folders.

    `watch` is shown which are committed. What the store refuses is said and left for the next time: the run does not
    depend on it.
    """
    gone: list[str] = []
    try:
        begun, surplus = _due(store, newest, retain, watch)
        for folder in begun:
            _delete(store, folder, newest)
            gone.append(folder)
        # How far apart averages lie is judged from the oldest on.
        stay = [folder for folder, each in reversed(surplus.items()) if not _has_kept_averages(store, each, newest)]
        for folder in surplus:
            if folder not in stay:
                _delete(store, folder, newest)
                gone.append(folder)
    except (StoreError, ArchiveError) as error:
        logger.warning("old checkpoints stay for now, beyond checkpoint.retain %d: %s", retain, error)
    return tuple(gone)


def beyond_retained(
    committed: Iterable[FolderName], newest: Manifest, retain: int, left: Container[str] = ()
) -> tuple[FolderName, ...]:
    """Return the own folders that are older than the `retain` newest, counted from `newest` downwards.

    Those of a past that the run `left`, to which it can never go back, count as older than all others.
    """
    older = sorted(
        (each for each in committed if each.is_own and each.step < newest.step),
        key=lambda each: (each.folder not in left, each.age),
        reverse=True,
    )
    return tuple(older[retain - 1 :])


def _has_kept_averages(store: Store, manifest: Manifest, newest: Manifest) -> bool:
    """Copy what outlives the checkpoint; where that fails, this one stays and no other."""
    try:
        keep_ema_snapshot(store, manifest, newest)
    except StoreError as error:
        folder = layout.checkpoint_folder(manifest.step, manifest.writer)
        logger.warning("%s stays for now, as its averages could not be copied: %s", folder, error)
        return False
    return True


def _due(
    store: Store, newest: Manifest, retain: int, watch: OtherWriters | None
) -> tuple[list[str], dict[str, Manifest]]:
    """Return the folders whose deletion was cut off, and those that are too many now, newest first."""
    listing = list(list_bounded(store, layout.SURVEY_PREFIX))
    keys = [info.key for info in listing if info.key.startswith(layout.CHECKPOINTS)]
    if watch is not None:
        watch.look(_holding(layout.MANIFEST, keys), newest.step, newest.writer)
    archived = archived_references(store, listing)  # an archive may consist of checkpoints that stayed where they were
    damaged = {each.folder for each in _holding(layout.DAMAGED, keys)}
    if layout.checkpoint_folder(newest.step, newest.writer) in damaged:
        return [], {}
    older = {
        each.folder: each
        for each in (*_holding(layout.RETIRED, keys), *_holding(layout.MANIFEST, keys))
        if each.is_own and each.step < newest.step and each.folder not in archived and each.folder not in damaged
    }
    marked = {each.folder for each in _holding(layout.RETIRED, keys)}
    begun = [each for folder, each in older.items() if folder in marked and _began(store, folder, newest)]
    read = ((folder, _manifest_of_run(store, folder, newest)) for folder in older if folder not in marked)
    whole = {folder: manifest for folder, manifest in read if manifest is not None}
    last = document_of(newest)
    left = {folder for folder, manifest in whole.items() if not is_on_the_way(document_of(manifest), last)}
    surplus = beyond_retained([older[folder] for folder in whole], newest, retain, left)
    return [each.folder for each in begun], {each.folder: whole[each.folder] for each in surplus}


def _holding(name: str, keys: Iterable[str]) -> tuple[FolderName, ...]:
    """Return the checkpoint folders that have a file of this name at their top."""
    folders = (layout.folder_of(key) for key in keys if key.endswith(f"/{name}") and key.count("/") == 2)  # noqa: PLR2004  # checkpoints/<folder>/<name>
    return tuple(folder for folder in folders if folder is not None)


def _delete(store: Store, folder: str, newest: Manifest) -> None:
    """Delete a checkpoint: mark, manifest, files, mark; killed at any instant, the same call finishes it."""
    mark, manifest = f"{folder}/{layout.RETIRED}", f"{folder}/{layout.MANIFEST}"
    try:
        store.create(mark, json.dumps(retired_mark(newest)).encode() + b"\n")
    except AlreadyExists:
        logger.info("%s: going on with a deletion that was cut off", folder)
    store.delete([manifest])
    if store.head(manifest) is not None:
        raise StoreError(
            "the manifest is still there after its deletion",
            uri=store.uri,
            operation="delete",
            key=manifest,
            way_out="Nothing else was deleted; check the bucket's retention rules",
        )
    store.delete([info.key for info in list_bounded(store, f"{folder}/") if info.key != mark])
    store.delete([mark])


def _manifest_of_run(store: Store, folder: str, newest: Manifest) -> Manifest | None:
    """Return the manifest if `newest` may have come from it by exact resumes: what another run saved is not ours."""
    try:
        manifest = read_manifest(store, folder)
    except ManifestError:
        return None
    return manifest if manifest is not None and _run_of(manifest) == _run_of(newest) else None


def _began(store: Store, folder: str, newest: Manifest) -> bool:
    """Whether the run of `newest` itself began to delete the folder."""
    mark = f"{folder}/{layout.RETIRED}"
    try:
        document = parse_object(store.read(mark, 0, _MAX_MARK_BYTES))
    except HeaderError:
        document = {}
    if document.get("run") == _run_of(newest):
        return True
    logger.warning("%s/%s was not written by this run: the folder stays as it is", store.uri, mark)
    return False


def retired_mark(newest: Manifest) -> dict[str, str]:
    """Return what the mark says: in whose favour a folder is deleted, and the run that both belong to."""
    return {"because": f"checkpoint {newest.step} by {newest.writer}", "run": _run_of(newest)}


def _run_of(manifest: Manifest) -> str:
    """Return the hex SHA-256 of what all checkpoints of a run have in common."""
    shared = manifest.model_dump_json(
        include={
            "architecture_fingerprint",
            "seed",
            "prediction_type",
            "noise_schedule",
            "latent_scale",
            "global_batch_size",
            "null_embedding_sha256",
            "initial_weights",
        }
    )
    return hashlib.sha256(shared.encode()).hexdigest()
