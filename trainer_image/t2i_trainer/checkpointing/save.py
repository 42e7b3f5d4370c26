"""Saving: every file first, then the metrics, then the manifest, whose appearance is the checkpoint's.

Killed at any instant before the last write, the run resumes from the checkpoint before; a folder that has a manifest
is never written into again. Only rank 0 writes; the others tell it by hash that their weights are the same and their
noise was not.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from safetensors import safe_open

from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.manifest import InitialWeightsFacts, Manifest, ManifestFile, RankFacts, commit, read_manifest
from t2i_trainer.checkpointing.state import (
    TrainingState,
    module_tensors,
    optimizer_tensors,
    weights_sha256,
    write_tensors,
)
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import architecture_of, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Meaning
    from t2i_trainer.checkpointing.trainer_state import TrainerState
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")

NULL_EMBEDDING = "null_embedding.safetensors"
_LIBRARIES = ("torch", "diffusers", "accelerate", "transformers", "safetensors", "t2i-operator")
_HASH_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class RunFacts:
    """What every manifest of a run says alike."""

    writer: str
    seed: int
    global_batch_size: int
    dataset_size: int
    meaning: Meaning
    null_embedding: torch.Tensor
    model_config_sha256: str | None = None
    initial_weights: InitialWeightsFacts | None = None


def gather_rank_facts(world: World, state: TrainingState, batch: Batch) -> tuple[RankFacts, ...]:
    """Collect every rank's hashes; raises TrainerError where weights differ: such a run must not be saved."""
    weights = world.gather_digests(weights_sha256(state.unet))
    noise = world.gather_digests(batch.noise_sha256())
    if len(set(weights)) > 1:
        raise TrainerError(
            ExitCode.CRASHED,
            f"after step {state.step} the ranks hold different weights ({', '.join(each[:8] for each in weights)}): "
            "gradients were not averaged. Nothing was saved; the last checkpoint is intact",
        )
    return tuple(
        RankFacts(rank=rank, weights_sha256=weight, noise_sha256=seen)
        for rank, (weight, seen) in enumerate(zip(weights, noise, strict=True))
    )


def save_checkpoint(  # noqa: PLR0913  # keyword-only, one call site
    store: Store,
    directory: Path,
    *,
    state: TrainingState,
    trainer_state: TrainerState,
    facts: RunFacts,
    ranks: tuple[RankFacts, ...],
    metrics: bytes,
) -> Manifest:
    """Write, upload and commit one checkpoint; returns its manifest as read back from the store.

    `directory` is scratch space of the size of a checkpoint. Raises StoreError, ManifestError.
    """
    folder = layout.checkpoint_folder(state.step, facts.writer)
    if (known := read_manifest(store, folder)) is not None:
        return _as_committed_before(store, folder, known, state)
    shutil.rmtree(directory, ignore_errors=True)
    _write_files(directory, state, trainer_state, facts)
    files = tuple(_listed(directory))
    for file in files:
        store.upload(f"{folder}/{file.path}", directory / file.path)
    store.put(layout.METRICS, metrics)
    manifest = _manifest(state, facts, files, ranks)
    commit(store, folder, manifest)
    shutil.rmtree(directory, ignore_errors=True)
    committed = read_manifest(store, folder)
    if committed is None or committed.to_json() != manifest.to_json():
        what = "gone" if committed is None else "another one"
        raise TrainerError(
            ExitCode.STORAGE_UNAVAILABLE, f"{store.uri}/{folder}: the manifest is {what} right after it was written"
        )
    return committed


def _as_committed_before(store: Store, folder: str, known: Manifest, state: TrainingState) -> Manifest:
    """Leave a checkpoint as it is that this very attempt committed before its pod was started again."""
    if known.architecture_fingerprint != architecture_of(state.unet).fingerprint():
        raise TrainerError(
            ExitCode.INCOMPATIBLE_WEIGHTS,
            f"{store.uri}/{folder} is another model's checkpoint of this very step; nothing was written there",
        )
    if store.head(f"{folder}/{layout.DAMAGED}") is not None:
        raise TrainerError(
            ExitCode.STORAGE_UNAVAILABLE,
            f"{store.uri}/{folder} was committed and is marked as damaged since; the next attempt writes another one",
        )
    logger.info("step %d: %s is committed already and stays as it is", state.step, folder)
    return known


def _write_files(directory: Path, state: TrainingState, trainer_state: TrainerState, facts: RunFacts) -> None:
    write_tensors(directory / layout.WEIGHTS, module_tensors(state.unet))
    write_tensors(directory / layout.EMA_WEIGHTS, module_tensors(state.ema.module))
    write_tensors(directory / layout.OPTIMIZER, optimizer_tensors(state.unet, state.optimizer))
    write_tensors(directory / NULL_EMBEDDING, {"null_embedding": facts.null_embedding})
    for config in (layout.WEIGHTS_CONFIG, layout.EMA_CONFIG):
        write_config(state.unet, (directory / config).parent)
    text = trainer_state.model_dump_json(by_alias=True, indent=1)
    (directory / layout.TRAINER_STATE).write_text(text + "\n")


def _listed(directory: Path) -> Iterator[ManifestFile]:
    for path in sorted(each for each in directory.rglob("*") if each.is_file()):
        digest = hashlib.sha256()
        with path.open("rb") as file:
            prefix = file.read(8)
            file.seek(0)
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
        yield ManifestFile(
            path=path.relative_to(directory).as_posix(),
            size=path.stat().st_size,
            sha256=digest.hexdigest(),
            header_bytes=8 + int.from_bytes(prefix, "little") if path.suffix == ".safetensors" else None,
            architecture_fingerprint=_fingerprint(path) if path.suffix == ".safetensors" else None,
        )


def _fingerprint(path: Path) -> str:
    with safe_open(path, framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # no mapping
    return Architecture.from_shapes(shapes).fingerprint()


def _manifest(
    state: TrainingState, facts: RunFacts, files: tuple[ManifestFile, ...], ranks: tuple[RankFacts, ...]
) -> Manifest:
    architecture = architecture_of(state.unet)
    seen = state.step * facts.global_batch_size
    return Manifest(
        step=state.step,
        writer=facts.writer,
        created_at=datetime.now(UTC),
        files=files,
        architecture_fingerprint=architecture.fingerprint(),
        parameter_order=tuple(name for name, _ in state.unet.named_parameters()),
        samples_seen=seen,
        epoch=seen // facts.dataset_size,
        position_in_epoch=seen % facts.dataset_size,
        world_size=len(ranks),
        global_batch_size=facts.global_batch_size,
        seed=facts.seed,
        prediction_type=facts.meaning.prediction_type,
        noise_schedule=facts.meaning.noise_schedule,
        latent_scale=facts.meaning.latent_scale,
        null_embedding_sha256=facts.meaning.null_embedding_sha256,
        library_versions={name: version(name) for name in _LIBRARIES},
        ranks=ranks,
        model_config_sha256=facts.model_config_sha256,
        initial_weights=facts.initial_weights,
    )
