"""From one listing to checkpoint candidates, and which file of each holds the weights. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_checkpoint.headers.sharded import INDEX_SUFFIX
from t2i_checkpoint.layout import EMA_WEIGHTS, OPTIMIZER, WEIGHTS, FolderName, folder_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from t2i_checkpoint.store import ObjectInfo

_SAFETENSORS = ".safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".distcp")
# Accelerate and the training scripts put these beside the weights; none of them holds a model.
_NOT_WEIGHTS = (
    "optimizer",
    "scheduler",
    "random_states",
    "scaler",
    "sampler",
    "dl_state",
    "training_args",
    "rng_state",
)
_PREFERRED = (WEIGHTS, "model.safetensors", "diffusion_pytorch_model.safetensors")


class CheckpointFormat(StrEnum):
    """Who wrote it, as far as the files tell."""

    T2I = "t2i"
    DIFFUSERS = "diffusers"
    ACCELERATE = "accelerate"
    SAFETENSORS = "safetensors"
    SHARDED = "sharded-safetensors"
    PICKLE = "pickle"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Candidate:
    """A folder that its name says is a checkpoint, and everything below it; `objects` by path inside the folder."""

    folder: FolderName
    objects: Mapping[str, ObjectInfo]

    @property
    def size_bytes(self) -> int:
        """Sum over all objects."""
        return sum(info.size for info in self.objects.values())

    @property
    def modified_at(self) -> datetime:
        """When its youngest object was written."""
        return max(info.modified_at for info in self.objects.values())


@dataclass(frozen=True)
class WeightsFile:
    """Where the weights are; `path` is None where there are none, and `paths` names those that cannot be decided."""

    format: CheckpointFormat
    path: str | None
    paths: tuple[str, ...] = ()


def candidates(listing: Iterable[ObjectInfo]) -> tuple[Candidate, ...]:
    """Group a listing into candidates, newest first: by step, then by time of writing."""
    folders: dict[FolderName, dict[str, ObjectInfo]] = {}
    for info in listing:
        folder = folder_of(info.key)
        if folder is not None:
            folders.setdefault(folder, {})[info.key.removeprefix(f"{folder.folder}/")] = info
    found = [Candidate(folder, objects) for folder, objects in folders.items()]
    return tuple(sorted(found, key=lambda c: (c.folder.step, c.modified_at, c.folder.folder), reverse=True))


def find_weights(paths: Iterable[str]) -> WeightsFile:
    """Choose the weights file among a foreign folder's paths."""
    available = sorted(paths)
    indexes = [path for path in available if path.endswith(INDEX_SUFFIX)]
    plain = [path for path in available if path.endswith(_SAFETENSORS) and _may_be_weights(path)]
    for preferred in _PREFERRED:
        if preferred in plain:
            return WeightsFile(_format(preferred), preferred)
        if preferred + ".index.json" in indexes:
            return WeightsFile(CheckpointFormat.SHARDED, preferred + ".index.json")
    training = [path for path in plain if path != EMA_WEIGHTS]
    for choice, kind in ((indexes, CheckpointFormat.SHARDED), (training, None), (plain, None)):
        if len(choice) == 1:
            return WeightsFile(kind or CheckpointFormat.SAFETENSORS, choice[0])
        if choice:
            return WeightsFile(kind or CheckpointFormat.SAFETENSORS, None, tuple(choice))
    pickles = [path for path in available if path.endswith(_PICKLES) and _may_be_weights(path)]
    if pickles:
        return WeightsFile(CheckpointFormat.PICKLE, None, tuple(pickles))
    return WeightsFile(CheckpointFormat.UNKNOWN, None)


def _may_be_weights(path: str) -> bool:
    name = path.rpartition("/")[2]
    return path != OPTIMIZER and not name.startswith(_NOT_WEIGHTS)


def _format(path: str) -> CheckpointFormat:
    return CheckpointFormat.ACCELERATE if path == "model.safetensors" else CheckpointFormat.DIFFUSERS
