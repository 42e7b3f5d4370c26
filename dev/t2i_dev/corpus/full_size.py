"""Whole checkpoints of our own layout at full size, sparse: what a preflight meets in a real bucket."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from t2i_checkpoint import layout
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
    model = unet_architecture_from_mapping(UNETS[task])
    folder = root / layout.checkpoint_folder(step, WRITER)
    contents = {
        layout.WEIGHTS: model,
        layout.EMA_WEIGHTS: model,
        layout.OPTIMIZER: optimizer_architecture(model),
    }
    files = []
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


def repeat(folder: Path, steps: int) -> None:
    """Copy a checkpoint to `steps` later steps, 100 apart: holes stay holes."""
    first = int(folder.name.split("-")[1])
    raw = (folder / layout.MANIFEST).read_bytes()
    for step in range(first + 100, first + 100 * (steps + 1), 100):
        target = folder.parent / layout.checkpoint_folder(step, WRITER).rpartition("/")[2]
        for source in sorted(each for each in folder.rglob("*.safetensors")):
            copy = target / source.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy_sparse(source, copy)
        manifest = Manifest.model_validate_json(raw).model_copy(
            update={"step": step, "samples_seen": step * GLOBAL_BATCH_SIZE}
        )
        (target / layout.MANIFEST).write_bytes(manifest.to_json())


def copy_sparse(source: Path, target: Path) -> None:
    """Copy the header and the size, not the hole."""
    with source.open("rb") as file:
        length = 8 + int.from_bytes(file.read(8), "little")
        file.seek(0)
        header = file.read(length)
    with target.open("wb") as file:
        file.write(header)
        file.truncate(source.stat().st_size)
    shutil.copystat(source, target)
