"""Restoring: everything is checked before the first weight of the model is touched.

Manifest against the job, files against the manifest, names and shapes against the model; only then a strict load. A
checkpoint that does not fit ends the attempt with INCOMPATIBLE_WEIGHTS, upon which the operator judges again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from t2i_api.base import describe
from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.manifest import Manifest, ManifestError, read_manifest
from t2i_checkpoint.optimizer import optimizer_fault
from t2i_trainer.checkpointing.save import NULL_EMBEDDING
from t2i_trainer.checkpointing.state import TrainingState, load_module, load_optimizer, read_tensors
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from t2i_checkpoint.architecture import ArchitectureDifference
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Meaning

_NEEDED = (layout.WEIGHTS, layout.EMA_WEIGHTS, layout.OPTIMIZER, layout.TRAINER_STATE, NULL_EMBEDDING)
_SHOWN_NAMES = 3
_BLOCK_BYTES = 8 * 1024 * 1024
# What two kinds of processors may compute differently for the same caption, relative to vectors of length about 1.
_NULL_EMBEDDING_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Expected:
    """What the job asks of a checkpoint besides names and shapes."""

    meaning: Meaning
    seed: int
    global_batch_size: int


def fetch_checkpoint(store: Store, name: str, expected: Expected, model: Architecture, directory: Path) -> None:
    """Download and check `checkpoints/<name>`; raises TrainerError(INCOMPATIBLE_WEIGHTS) or StoreError."""
    folder = f"{layout.CHECKPOINTS}{name}"
    manifest = _manifest(store, folder)
    _check_meaning(manifest, expected, folder)
    if manifest.architecture_fingerprint != model.fingerprint():
        # The header says which names differ; the big download would only cost time.
        _fetch(store, folder, manifest, layout.WEIGHTS, directory)
        check_names_and_shapes(directory / layout.WEIGHTS, model, folder)
        raise _incompatible(folder, "its manifest was written for another model than its weights file holds")
    for path in _NEEDED:
        _fetch(store, folder, manifest, path, directory)
    check_names_and_shapes(directory / layout.WEIGHTS, model, folder)
    check_names_and_shapes(directory / layout.EMA_WEIGHTS, model, folder)
    fault = optimizer_fault(_architecture(directory / layout.OPTIMIZER, folder), manifest.parameter_order, model)
    if fault is not None:
        raise _incompatible(folder, f"the optimizer state does not fit: {fault}")


def load_checkpoint(directory: Path, state: TrainingState) -> TrainerState:
    """Load what `fetch_checkpoint` put there into a run of the same names and shapes."""
    weights, averages = read_tensors(directory / layout.WEIGHTS), read_tensors(directory / layout.EMA_WEIGHTS)
    moments = read_tensors(directory / layout.OPTIMIZER)
    try:
        restored = TrainerState.model_validate_json((directory / layout.TRAINER_STATE).read_bytes())
    except ValidationError as error:
        raise _incompatible(layout.TRAINER_STATE, describe(error)) from error
    load_module(state.unet, weights)
    load_module(state.ema.module, averages)
    load_optimizer(state.unet, state.optimizer, moments)
    state.step = restored.step
    return restored


def load_null_embedding(directory: Path) -> torch.Tensor:
    """Return the null embedding that the run was begun with: a resume uses that very vector."""
    return read_tensors(directory / NULL_EMBEDDING)["null_embedding"]


def check_null_embedding(stored: torch.Tensor, computed: torch.Tensor, folder: str) -> None:
    """Raise TrainerError unless both are the same text encoder's answer; last bits differ between processors."""
    if stored.shape == computed.shape and (stored - computed).abs().max() <= _NULL_EMBEDDING_TOLERANCE:
        return
    raise _incompatible(folder, "the text encoder gives another null embedding than the one it was trained with")


def check_names_and_shapes(path: Path, model: Architecture, folder: str) -> None:
    """Raise TrainerError naming what differs between a weights file's header and the model."""
    difference = _architecture(path, folder).diff(model)
    if not difference.is_empty:
        raise _incompatible(folder, _describe(difference))


def _manifest(store: Store, folder: str) -> Manifest:
    try:
        manifest = read_manifest(store, folder)
    except ManifestError as error:
        raise _incompatible(folder, str(error)) from error
    if manifest is None:
        raise _incompatible(folder, f"it has no {layout.MANIFEST}: its save never ended, or it was moved")
    return manifest


def _check_meaning(manifest: Manifest, expected: Expected, folder: str) -> None:
    meaning = expected.meaning
    pairs = (
        ("predictionType", manifest.prediction_type, meaning.prediction_type),
        ("noise schedule", manifest.noise_schedule, meaning.noise_schedule),
        ("latent scale", manifest.latent_scale, meaning.latent_scale),
        ("training.seed", manifest.seed, expected.seed),
        ("training.globalBatchSize", manifest.global_batch_size, expected.global_batch_size),
        ("samples seen", manifest.samples_seen, manifest.step * expected.global_batch_size),
    )
    for field, stored, wanted in pairs:
        if stored != wanted:
            raise _incompatible(folder, f"{field} is {stored} there, the job asks for {wanted}")


def _fetch(store: Store, folder: str, manifest: Manifest, path: str, directory: Path) -> None:
    listed = manifest.file(path)
    if listed is None:
        raise _incompatible(folder, f"its manifest lists no {path}")
    target = directory / path
    target.parent.mkdir(parents=True, exist_ok=True)
    store.download(f"{folder}/{path}", target)
    digest = hashlib.sha256()
    with target.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != listed.sha256:
        raise _incompatible(folder, f"{path} is damaged: its SHA-256 is not the manifest's")


def _architecture(path: Path, folder: str) -> Architecture:
    try:
        with safe_open(path, framework="pt") as file:
            return Architecture.from_shapes({name: file.get_slice(name).get_shape() for name in file.keys()})  # noqa: SIM118  # safe_open is no mapping
    except (SafetensorError, OSError) as error:
        raise _incompatible(folder, f"{path.name} is no safetensors file: {error}") from error


def _describe(difference: ArchitectureDifference) -> str:
    parts = [
        f"{len(names)} {what}, e.g. {', '.join(names[:_SHOWN_NAMES])}"
        for what, names in (("names missing", difference.missing), ("names unexpected", difference.unexpected))
        if names
    ]
    if difference.mismatched:
        shown = "; ".join(str(each) for each in difference.mismatched[:_SHOWN_NAMES])
        parts.append(f"{len(difference.mismatched)} shapes differ, e.g. {shown}")
    return "; ".join(parts)


def _incompatible(folder: str, what: str) -> TrainerError:
    return TrainerError(
        ExitCode.INCOMPATIBLE_WEIGHTS,
        f"{folder} does not fit this job: {what}. No weight was loaded; nothing was changed",
    )
