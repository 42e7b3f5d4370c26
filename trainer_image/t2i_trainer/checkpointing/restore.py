"""Restoring: the shared verdict and every file's SHA-256 decide before the first weight of the model is touched.

The first process of a pod fetches and checks; every process then loads what lies there. A checkpoint that does not fit
ends the attempt with INCOMPATIBLE_WEIGHTS, upon which the operator judges again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from pydantic import ValidationError

from t2i_api.base import describe
from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.damage import Damage, mark_damaged
from t2i_checkpoint.manifest import Manifest, ManifestFile, parse_manifest
from t2i_checkpoint.store import NotFound, ObjectChanged, StoreError
from t2i_trainer.checkpointing.judging import does_not_fit, judge_resumable
from t2i_trainer.checkpointing.save import NULL_EMBEDDING
from t2i_trainer.checkpointing.state import (
    TrainingState,
    load_module,
    load_optimizer,
    read_tensors,
    rename_moments,
    rename_tensors,
)
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.ema import check_stored_profiles
from t2i_trainer.failures import TrainerError
from t2i_trainer.text_encoder import embedding_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

logger = logging.getLogger("t2i_trainer")

_RENAMING = "renaming.json"  # beside the fetched files; no file of a checkpoint has this name
_BLOCK_BYTES = 8 * 1024 * 1024
# What two kinds of processors may compute differently for the same caption, relative to vectors of length about 1.
_NULL_EMBEDDING_TOLERANCE = 1e-2


@dataclass(frozen=True)
class FetchedCheckpoint:
    """A checkpoint in a directory of this pod; `names` maps stored parameter names to the model's, if they differ."""

    directory: Path
    manifest: Manifest
    names: Mapping[str, str] | None
    trainer_state: TrainerState

    def null_embedding(self) -> torch.Tensor:
        """Return the null embedding that the run was begun with: a resume uses that very vector."""
        return read_tensors(self.directory / NULL_EMBEDDING)["null_embedding"]


def fetch_checkpoint(store: Store, name: str, wanted: Wanted, directory: Path, reader: str = "t2i-trainer") -> None:
    """Judge `checkpoints/<name>`, download it whole and check every byte; raises TrainerError or StoreError.

    A file that twice comes with the same wrong bytes is damaged: the checkpoint is marked so, in the name of `reader`,
    and everybody passes it over from then on.
    """
    folder = f"{layout.CHECKPOINTS}{name}"
    judgement = judge_resumable(store, folder, wanted)
    if judgement.manifest is None:
        raise does_not_fit(folder, f"it has no {layout.MANIFEST}")
    for file in judgement.manifest.files:
        _fetch(store, folder, file, directory, reader)
    renaming = judgement.verdict.renaming
    (directory / layout.MANIFEST).write_bytes(judgement.manifest.to_json())
    (directory / _RENAMING).write_text(json.dumps(None if renaming is None else dict(renaming.names)))


def open_fetched(directory: Path) -> FetchedCheckpoint:
    """Return what `fetch_checkpoint` put there, perhaps in another process."""
    try:
        state = TrainerState.model_validate_json((directory / layout.TRAINER_STATE).read_bytes())
    except (ValidationError, OSError) as error:
        what = describe(error) if isinstance(error, ValidationError) else str(error.strerror)
        raise does_not_fit(layout.TRAINER_STATE, what) from error
    manifest = parse_manifest((directory / layout.MANIFEST).read_bytes())
    if state.step != manifest.step:
        raise does_not_fit(layout.TRAINER_STATE, f"it is of step {state.step}, its manifest of {manifest.step}")
    return FetchedCheckpoint(directory, manifest, json.loads((directory / _RENAMING).read_text()), state)


def load_checkpoint(fetched: FetchedCheckpoint, state: TrainingState) -> None:
    """Load weights, EMA and moments, under the model's names; strict, so that no tensor is left as it was."""
    directory, names = fetched.directory, fetched.names
    load_module(state.unet, rename_tensors(read_tensors(directory / layout.WEIGHTS), names))
    load_module(state.ema.module, rename_tensors(read_tensors(directory / layout.EMA_WEIGHTS), names))
    profiles = state.ema.profile_tensors()
    check_stored_profiles((file.path for file in fetched.manifest.files), profiles)
    for path in profiles:
        state.ema.load_profile(path, rename_tensors(read_tensors(directory / path), names))
    load_optimizer(state.unet, state.optimizer, rename_moments(read_tensors(directory / layout.OPTIMIZER), names))
    state.step = fetched.manifest.step


def is_same_null_embedding(stored: torch.Tensor, computed: torch.Tensor) -> bool:
    """Whether both are the same text encoder's answer; last bits differ between processors, so hashes would not do."""
    return stored.shape == computed.shape and bool((stored - computed).abs().max() <= _NULL_EMBEDDING_TOLERANCE)


def refuse_null_embedding(store: Store, name: str, wanted: Wanted, computed: torch.Tensor) -> NoReturn:
    """Say in the verdict's words that the text encoder is another one than the checkpoint was trained with."""
    folder = f"{layout.CHECKPOINTS}{name}"
    meaning = replace(wanted.meaning, null_embedding_sha256=embedding_sha256(computed))
    way_out = "Name the text encoder that it was trained with in model.textEncoder, or another checkpoint.uri"
    try:
        judge_resumable(store, folder, replace(wanted, meaning=meaning))
    except TrainerError as error:
        raise TrainerError(error.code, f"{error}. {way_out}") from error
    what = f"its null embedding is not the text encoder's, whatever its manifest says. {way_out}"
    raise does_not_fit(folder, what)


def _fetch(store: Store, folder: str, file: ManifestFile, directory: Path, reader: str) -> None:
    target = directory / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    first = _download(store, folder, file, target)
    if first == file.sha256:
        return
    logger.warning("%s/%s came with other bytes than its manifest promises; reading it again", folder, file.path)
    second = _download(store, folder, file, target)
    if second == file.sha256:
        return
    if second != first:
        what = f"{store.uri}/{folder}/{file.path} comes with other bytes each time it is read: look at the network"
        raise TrainerError(ExitCode.STORAGE_UNAVAILABLE, f"{what}. No step was taken; nothing was changed")
    damage = Damage(
        file=file.path, expected_sha256=file.sha256, found_sha256=second, found_at=datetime.now(UTC), found_by=reader
    )
    what = f"{folder}/{file.path} is damaged: {damage}. {_mark(store, folder, damage)}. No step was taken"
    raise TrainerError(ExitCode.INCOMPATIBLE_WEIGHTS, what)


def _mark(store: Store, folder: str, damage: Damage) -> str:
    try:
        mark_damaged(store, folder, damage)
    except StoreError as error:
        return f"It could not be marked ({error}), so the next attempt will meet it again: move it elsewhere"
    return f"{layout.DAMAGED} marks it now: the next attempt takes the newest one before it"


def _download(store: Store, folder: str, file: ManifestFile, target: Path) -> str:
    """Return the SHA-256 of what came."""
    try:
        store.download(f"{folder}/{file.path}", target)
    except (NotFound, ObjectChanged) as error:
        raise does_not_fit(folder, f"{file.path} went away or changed while it was read") from error
    digest = hashlib.sha256()
    with target.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
