"""From files of this machine to a checkpoint in the store: every file, the metrics, and the manifest last of all.

Killed at any instant before the last write, the run resumes from the checkpoint before; a folder that has a manifest is
never written into again. Runs in the uploading process, so nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.manifest import Manifest, commit, read_manifest
from t2i_trainer.checkpointing.row_major import make_row_major
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store
    from t2i_trainer.checkpointing.order import SaveOrder

logger = logging.getLogger("t2i_trainer")

_HASH_BLOCK_BYTES = 8 * 1024 * 1024


def publish(store: Store, order: SaveOrder) -> Manifest:
    """Upload and commit; returns the manifest as read back from the store.

    Raises StoreError, ManifestError, and TrainerError where the folder holds something else.
    """
    folder = layout.checkpoint_folder(order.manifest.step, order.manifest.writer)
    if (known := read_manifest(store, folder)) is not None:
        return _as_committed_before(store, folder, known, order.manifest)
    files = []
    for file in order.manifest.files:
        source = Path(order.sources[file.path])
        make_row_major(source, order.channels_last.get(file.path, ()))
        files.append(file.model_copy(update={"sha256": sha256_of(source)}))
        store.upload(f"{folder}/{file.path}", source)
    store.put(layout.METRICS, Path(order.metrics).read_bytes())
    manifest = order.manifest.model_copy(update={"files": tuple(files)})
    commit(store, folder, manifest)
    committed = read_manifest(store, folder)
    if committed is None or committed.to_json() != manifest.to_json():
        what = "gone" if committed is None else "another one"
        raise TrainerError(
            ExitCode.STORAGE_UNAVAILABLE, f"{store.uri}/{folder}: the manifest is {what} right after it was written"
        )
    return committed


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _as_committed_before(store: Store, folder: str, known: Manifest, ours: Manifest) -> Manifest:
    """Leave a checkpoint as it is that this very attempt committed before its pod was started again."""
    if known.architecture_fingerprint != ours.architecture_fingerprint:
        raise TrainerError(
            ExitCode.INCOMPATIBLE_WEIGHTS,
            f"{store.uri}/{folder} is another model's checkpoint of this very step; nothing was written there",
        )
    if store.head(f"{folder}/{layout.DAMAGED}") is not None:
        raise TrainerError(
            ExitCode.STORAGE_UNAVAILABLE,
            f"{store.uri}/{folder} was committed and is marked as damaged since; the next attempt writes another one",
        )
    logger.info("step %d: %s is committed already and stays as it is", known.step, folder)
    return known
