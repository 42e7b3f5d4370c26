"""Checkpoints of our own layout, saved by the trainer's own code, and how people and faults change them."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import ManifestFile, RankFacts, parse_manifest
from t2i_checkpoint.verdict import Meaning
from t2i_checkpoint.wanted import model_config_sha256
from t2i_dev.corpus.jobs import GLOBAL_BATCH_SIZE, SEED, Task, job_document
from t2i_dev.corpus.models import stepped_adamw, unet
from t2i_dev.corpus.row import NULL_EMBEDDING_SHA256
from t2i_trainer.checkpointing.save import RunFacts, save_checkpoint
from t2i_trainer.checkpointing.state import TrainingState
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.ema import ExponentialMovingAverage

WRITER: Final = "5f2c91aa-a1"
MEANING: Final = Meaning("v_prediction", "squaredcos_cap_v2, 1000 timesteps", 1.0, NULL_EMBEDDING_SHA256)
_DIGEST: Final = "ab" * 32
Tensors = dict[str, torch.Tensor]


def save_own(  # noqa: PLR0913  # keyword-only facts of one save, all with defaults
    root: Path,
    step: int = 500,
    *,
    model: torch.nn.Module | None = None,
    task: Task = Task.TINY,
    meaning: Meaning = MEANING,
    seed: int = SEED,
    global_batch_size: int = GLOBAL_BATCH_SIZE,
    world_size: int = 1,
) -> Path:
    """Save a checkpoint as `t2i-trainer` does and return its folder."""
    model = unet(f"own-{step}") if model is None else model
    spec = DiffusionTrainingJob.from_object(job_document(task, "s3://t2i/corpus")).spec
    state = TrainingState(model, ExponentialMovingAverage(model, 0.9), stepped_adamw(model), step)
    facts = RunFacts(
        writer=WRITER,
        seed=seed,
        global_batch_size=global_batch_size,
        dataset_size=1000,
        meaning=meaning,
        null_embedding=torch.zeros(1, 16),
        model_config_sha256=model_config_sha256(spec),
    )
    ranks = tuple(RankFacts(rank=i, weights_sha256=_DIGEST, noise_sha256=f"{i:064x}") for i in range(world_size))
    with tempfile.TemporaryDirectory() as scratch:
        save_checkpoint(
            LocalStore(root),
            Path(scratch) / "checkpoint",
            state=state,
            trainer_state=TrainerState(step=step, dataset_size=1000, dataset_sha256=_DIGEST),
            facts=facts,
            ranks=ranks,
            metrics=b"",
        )
    return root / layout.checkpoint_folder(step, WRITER)


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Replace fields of a committed manifest."""
    path = folder / layout.MANIFEST
    path.write_bytes(parse_manifest(path.read_bytes()).model_copy(update=changes).to_json())


def drop_file(folder: Path, path: str) -> None:
    """Take a file out of folder and manifest, as a program would that never wrote it."""
    (folder / path).unlink()
    manifest = parse_manifest((folder / layout.MANIFEST).read_bytes())
    edit_manifest(folder, files=tuple(each for each in manifest.files if each.path != path))


def edit_tensors(folder: Path, path: str, change: Callable[[Tensors], Tensors]) -> None:
    """Rewrite a safetensors file and its entry in the manifest: a whole, committed checkpoint with other tensors."""
    target = folder / path
    save_file({name: each.contiguous() for name, each in change(load_file(target)).items()}, target)
    manifest = parse_manifest((folder / layout.MANIFEST).read_bytes())
    entry = _entry(target, path)
    edit_manifest(folder, files=tuple(entry if each.path == path else each for each in manifest.files))


def rename_everywhere(folder: Path, rename: Callable[[str], str]) -> None:
    """Rename the parameters in weights, EMA, optimizer and manifest, as an older Diffusers would have named them."""
    for path in (layout.WEIGHTS, layout.EMA_WEIGHTS):
        edit_tensors(folder, path, lambda tensors: {rename(name): each for name, each in tensors.items()})
    edit_tensors(folder, layout.OPTIMIZER, lambda tensors: {_in_moment(n, rename): t for n, t in tensors.items()})
    manifest = parse_manifest((folder / layout.MANIFEST).read_bytes())
    edit_manifest(
        folder,
        parameter_order=tuple(rename(name) for name in manifest.parameter_order),
        architecture_fingerprint=_fingerprint(load_file(folder / layout.WEIGHTS)),
    )


def _in_moment(name: str, rename: Callable[[str], str]) -> str:
    moment, separator, parameter = name.partition("/")
    return f"{moment}/{rename(parameter)}" if separator else name


def _fingerprint(tensors: Tensors) -> str:
    return Architecture.from_shapes({name: tuple(each.shape) for name, each in tensors.items()}).fingerprint()


def _entry(target: Path, path: str) -> ManifestFile:
    raw = target.read_bytes()
    header = 8 + int.from_bytes(raw[:8], "little")
    return ManifestFile(path=path, size=len(raw), sha256=hashlib.sha256(raw).hexdigest(), header_bytes=header)
