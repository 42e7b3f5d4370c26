"""Whole checkpoints of our own layout at full size, sparse: what a preflight meets in a real bucket."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.manifest import Manifest, ManifestFile
from t2i_checkpoint.optimizer import optimizer_architecture
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_dev.corpus.jobs import GLOBAL_BATCH_SIZE, LATENT_SCALE, SEED, UNETS, Task
from t2i_dev.corpus.row import NULL_EMBEDDING_SHA256
from t2i_dev.corpus.sparse import write_sparse

WRITER: Final = "5f2c91aa-a1"
_NO_DIGEST: Final = "0" * 64  # nobody reads the data of a sparse file


def save_full_size(root: Path, task: Task, step: int) -> Path:
    """Write weights, EMA, optimizer and manifest of one checkpoint below `root`; returns its folder."""
    model = _architecture(task)
    folder = root / layout.checkpoint_folder(step, WRITER)
    contents = {
        layout.WEIGHTS: model,
        layout.EMA_WEIGHTS: model,
        layout.OPTIMIZER: optimizer_architecture(model),
    }
    files = [
        _small(folder, layout.TRAINER_STATE, b"{}\n"),
        _small(folder, layout.NULL_EMBEDDING, b"\2" + bytes(7) + b"{}"),
    ]
    for path, architecture in contents.items():
        header = write_sparse(folder / path, architecture)
        size = (folder / path).stat().st_size
        files.append(ManifestFile(path=path, size=size, sha256=_NO_DIGEST, header_bytes=header))
    manifest = Manifest(
        step=step,
        writer=WRITER,
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        files=tuple(files),
        architecture_fingerprint=model.fingerprint(),
        parameter_order=model.names,
        samples_seen=step * GLOBAL_BATCH_SIZE,
        epoch=0,
        position_in_epoch=0,
        world_size=8,
        global_batch_size=GLOBAL_BATCH_SIZE,
        seed=SEED,
        prediction_type="v_prediction",
        noise_schedule="squaredcos_cap_v2, 1000 timesteps",
        latent_scale=LATENT_SCALE,
        null_embedding_sha256=NULL_EMBEDDING_SHA256,
        library_versions={},
    )
    (folder / layout.MANIFEST).write_bytes(manifest.to_json())
    return folder


@cache
def _architecture(task: Task) -> Architecture:
    return unet_architecture_from_mapping(UNETS[task])


def _small(folder: Path, path: str, content: bytes) -> ManifestFile:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)
    return ManifestFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
