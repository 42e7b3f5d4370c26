"""What a checkpoint is made of: its files, and the manifest that tells about them and the run.

Only rank 0 writes; the others tell it by hash that their weights are the same and their noise was not. `publish.py`
brings the files to the store.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.manifest import InitialWeightsFacts, Manifest, ManifestFile, RankFacts, StepSpan
from t2i_trainer.checkpointing.file_plan import FilePlan, LaidFile, plan_file
from t2i_trainer.checkpointing.order import UNKNOWN_SHA256, SaveOrder
from t2i_trainer.checkpointing.publish import publish
from t2i_trainer.checkpointing.state import TrainingState, read_tensors, tensor_files, weights_sha256, write_tensors
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import write_config
from t2i_trainer.non_finite import goings_back

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Meaning
    from t2i_trainer.checkpointing.trainer_state import TrainerState
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.non_finite import SkippedSteps
    from t2i_trainer.world import World

NULL_EMBEDDING = "null_embedding.safetensors"
_LIBRARIES = ("torch", "diffusers", "accelerate", "transformers", "safetensors", "t2i-operator")


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


def save_checkpoint(  # noqa: PLR0913  # keyword-only, few call sites
    store: Store,
    directory: Path,
    *,
    state: TrainingState,
    trainer_state: TrainerState,
    facts: RunFacts,
    ranks: tuple[RankFacts, ...],
    metrics: bytes,
) -> Manifest:
    """Write, upload and commit one checkpoint while training waits; returns its manifest as read back from the store.

    `directory` is scratch space of the size of a checkpoint. Raises StoreError, ManifestError, TrainerError. A run
    saves by `saver.py`, which publishes the same bytes in the background.
    """
    shutil.rmtree(directory, ignore_errors=True)
    files = {}
    for path, tensors in tensor_files(state).items():
        write_tensors(directory / path, tensors)
        files[path] = LaidFile(str(directory / path), plan_file(tensors))
    order = make_order(
        directory, files, state=state, trainer_state=trainer_state, facts=facts, ranks=ranks, metrics=metrics
    )
    manifest = publish(store, order)
    shutil.rmtree(directory, ignore_errors=True)
    return manifest


def make_order(  # noqa: PLR0913  # keyword-only, two call sites
    directory: Path,
    files: Mapping[str, LaidFile],
    *,
    state: TrainingState,
    trainer_state: TrainerState,
    facts: RunFacts,
    ranks: tuple[RankFacts, ...],
    metrics: bytes,
    retain: int = 1,
) -> SaveOrder:
    """Write the small files into `directory` and say what is to be published; `files` by path in the checkpoint."""
    small = _write_small_files(directory, state, trainer_state, facts)
    (directory / layout.METRICS).write_bytes(metrics)
    listed = [
        *(_listed_tensors(path, file.plan) for path, file in files.items()),
        *(_listed_small(directory, path) for path in small),
    ]
    return SaveOrder(
        manifest=_manifest(
            state,
            facts,
            files[layout.WEIGHTS].plan.fingerprint,
            tuple(sorted(listed, key=lambda file: file.path)),
            ranks,
            rolled_back=goings_back(trainer_state.skipped),
        ),
        sources={path: file.source for path, file in files.items()} | {path: str(directory / path) for path in small},
        channels_last={path: file.channels_last for path, file in files.items()},
        metrics=str(directory / layout.METRICS),
        retain=retain,
    )


def _write_small_files(
    directory: Path, state: TrainingState, trainer_state: TrainerState, facts: RunFacts
) -> tuple[str, ...]:
    write_tensors(directory / NULL_EMBEDDING, {"null_embedding": facts.null_embedding})
    for config in (layout.WEIGHTS_CONFIG, layout.EMA_CONFIG):
        write_config(state.unet, (directory / config).parent)
    text = trainer_state.model_dump_json(by_alias=True, indent=1)
    (directory / layout.TRAINER_STATE).write_text(text + "\n")
    return (NULL_EMBEDDING, layout.WEIGHTS_CONFIG, layout.EMA_CONFIG, layout.TRAINER_STATE)


def _listed_small(directory: Path, path: str) -> ManifestFile:
    size = (directory / path).stat().st_size
    if not path.endswith(".safetensors"):
        return _listed(path, size)
    return _listed_tensors(path, plan_file(read_tensors(directory / path)))


def _listed_tensors(path: str, plan: FilePlan) -> ManifestFile:
    return _listed(path, plan.size, len(plan.header), plan.fingerprint)


def _listed(path: str, size: int, header_bytes: int | None = None, fingerprint: str | None = None) -> ManifestFile:
    return ManifestFile(
        path=path,
        size=size,
        sha256=UNKNOWN_SHA256,
        header_bytes=header_bytes,
        architecture_fingerprint=fingerprint,
    )


def _manifest(  # noqa: PLR0913  # one call site
    state: TrainingState,
    facts: RunFacts,
    fingerprint: str,
    files: tuple[ManifestFile, ...],
    ranks: tuple[RankFacts, ...],
    *,
    rolled_back: tuple[SkippedSteps, ...],
) -> Manifest:
    seen = state.step * facts.global_batch_size
    return Manifest(
        step=state.step,
        writer=facts.writer,
        created_at=datetime.now(UTC),
        files=files,
        architecture_fingerprint=fingerprint,
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
        library_versions=_library_versions(),
        ranks=ranks,
        rolled_back=tuple(StepSpan(first=each.first, last=each.last) for each in rolled_back),
        model_config_sha256=facts.model_config_sha256,
        initial_weights=facts.initial_weights,
    )


@functools.cache
def _library_versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}
