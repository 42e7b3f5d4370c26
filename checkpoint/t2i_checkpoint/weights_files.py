"""Which of a folder's files holds the weights, which their average, which the optimizer. By names alone; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_checkpoint.headers.sharded import SAFETENSORS_INDEX, TORCH_INDEX
from t2i_checkpoint.layout import OPTIMIZER, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DCP_METADATA = ".metadata"
_SAFETENSORS = ".safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
# Accelerate, transformers and the training scripts put these beside the weights; none of them holds a model.
_RESUME_STATE = (
    "optimizer",
    "scheduler",
    "random_states",
    "scaler",
    "sampler",
    "dl_state",
    "training_args",
    "trainer_state",
    "rng_state",
    "custom_checkpoint",
)
_OPTIMIZER_STEMS = {"opt", "optim"}
_RESUME_ENDINGS = ("optim_states.pt", "_optimizer.pt", "_scheduler.pt")
# Folders of a Diffusers pipeline beside the UNet.
_OTHER_MODELS = {
    "vae",
    "text_encoder",
    "text_encoder_2",
    "text_encoder_3",
    "image_encoder",
    "safety_checker",
    "feature_extractor",
    "tokenizer",
    "tokenizer_2",
    "vae_1_0",
}
_MODEL_FOLDERS = {"unet", "transformer"}
_AVERAGES = {"unet_ema", "ema_unet", "ema", "model_ema", "ema_model"}
_STATE_FOLDERS = ("pytorch_model", "optimizer")  # of FSDP and DeepSpeed below Accelerate
_PREFERRED = (WEIGHTS, "model.safetensors", "diffusion_pytorch_model.safetensors")
_PREFERRED_PICKLES = (
    *("unet/diffusion_pytorch_model.bin", "pytorch_model.bin", "diffusion_pytorch_model.bin"),
    "pytorch_model_fsdp.bin",  # of the first model; the second one's is `pytorch_model_fsdp_1.bin`
)
_OPTIMIZERS = ("optimizer.bin", "optimizer.pt", "optimizer.pth")


class CheckpointFormat(StrEnum):
    """Who wrote it, as far as the files tell."""

    T2I = "t2i"
    DIFFUSERS = "diffusers"
    ACCELERATE = "accelerate"
    SAFETENSORS = "safetensors"
    SHARDED = "sharded-safetensors"
    SHARDED_PICKLE = "sharded-pickle"
    PICKLE = "pickle"
    DISTRIBUTED = "distributed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class WeightsFile:
    """Where the weights are; `path` is None where there are none, and `paths` names those that cannot be decided."""

    format: CheckpointFormat
    path: str | None
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderParts:
    """The files of a foreign checkpoint by their part; `resume_state` is what only the program itself can go on with.

    `average` and `optimizer` are paths of one file, None where there is none or several.
    """

    weights: WeightsFile
    average: WeightsFile | None
    optimizer: str | None
    resume_state: tuple[str, ...]

    @property
    def holds_weights(self) -> bool:
        """Whether there are weights, decided or not."""
        return self.weights.path is not None or bool(self.weights.paths)


def folder_parts(paths: Iterable[str]) -> FolderParts:
    """Sort a foreign checkpoint's paths, relative to its folder, into parts."""
    available = sorted(paths)
    weights = find_weights(available)
    averages = find_weights([path for path in available if is_average(path) and path != weights.path])
    optimizers = [path for path in available if path in _OPTIMIZERS]
    return FolderParts(
        weights,
        averages if averages.path is not None else None,
        optimizers[0] if len(optimizers) == 1 else None,
        tuple(path for path in available if is_resume_state(path)),
    )


def find_weights(paths: Iterable[str]) -> WeightsFile:
    """Choose the weights file among a foreign folder's paths: by place first (a VAE never stands for the UNet)."""
    available = [path for path in sorted(paths) if not is_resume_state(path)]
    others = [path for path in available if path.partition("/")[0] not in _OTHER_MODELS]
    for group in (
        [path for path in available if path.partition("/")[0] in _MODEL_FOLDERS],
        [path for path in others if not is_average(path)],
        others,
        available,
    ):
        found = _find_safetensors(group) or _find_distributed(group) or _find_pickle(group)
        if found is not None:
            return found
    return WeightsFile(CheckpointFormat.UNKNOWN, None)


def is_part(path: str) -> bool:
    """Whether a path looks like a part of the checkpoint that its folder is, whatever the folder is called."""
    folder, _, name = path.rpartition("/")
    known = _MODEL_FOLDERS | _AVERAGES | _OTHER_MODELS
    return bool(name) and (not folder or folder in known or folder.startswith(_STATE_FOLDERS)) and "/" not in folder


def is_average(path: str) -> bool:
    """Whether a path names an exponential moving average of the weights."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0].lower()
    return bool(_AVERAGES & set(folder.split("/"))) or stem in _AVERAGES or stem.startswith("ema_")


def is_resume_state(path: str) -> bool:
    """Whether a path holds state that only the program which wrote it can go on from, and no weights."""
    parts = path.split("/")
    if path == OPTIMIZER or parts[-1].partition(".")[0] in _OPTIMIZER_STEMS:
        return True
    return any(part.startswith(_RESUME_STATE) or part.endswith(_RESUME_ENDINGS) for part in (parts[-1], parts[0]))


def _find_safetensors(paths: Sequence[str]) -> WeightsFile | None:
    indexes = [path for path in paths if path.endswith(SAFETENSORS_INDEX)]
    plain = [path for path in paths if path.endswith(_SAFETENSORS)]
    for preferred in _PREFERRED:
        if preferred in plain:
            return WeightsFile(_format(preferred), preferred)
        if f"{preferred}.index.json" in indexes:
            return WeightsFile(CheckpointFormat.SHARDED, f"{preferred}.index.json")
    return _the_one(indexes, CheckpointFormat.SHARDED) or _the_one(plain, CheckpointFormat.SAFETENSORS)


def _find_distributed(paths: Sequence[str]) -> WeightsFile | None:
    return _the_one([path for path in paths if path.rpartition("/")[2] == DCP_METADATA], CheckpointFormat.DISTRIBUTED)


def _find_pickle(paths: Sequence[str]) -> WeightsFile | None:
    indexes = [path for path in paths if path.endswith(TORCH_INDEX)]
    plain = [path for path in paths if path.endswith(_PICKLES)]
    for preferred in _PREFERRED_PICKLES:
        if preferred in plain:
            return WeightsFile(CheckpointFormat.PICKLE, preferred)
        if f"{preferred}.index.json" in indexes:
            return WeightsFile(CheckpointFormat.SHARDED_PICKLE, f"{preferred}.index.json")
    return _the_one(indexes, CheckpointFormat.SHARDED_PICKLE) or _the_one(plain, CheckpointFormat.PICKLE)


def _the_one(paths: Sequence[str], kind: CheckpointFormat) -> WeightsFile | None:
    """Return the only one, or all of them as undecided; None where there is none."""
    if not paths:
        return None
    return WeightsFile(kind, paths[0]) if len(paths) == 1 else WeightsFile(kind, None, tuple(paths))


def _format(path: str) -> CheckpointFormat:
    return CheckpointFormat.ACCELERATE if path == "model.safetensors" else CheckpointFormat.DIFFUSERS
