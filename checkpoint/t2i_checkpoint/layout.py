"""Where everything lies below a checkpoint URI, and how the names are written and read back. Pure.

`checkpoints/step-00005000-<writer>/` is ours; `checkpoint-<n>/`, `step_<n>/` and single files such as
`epoch=3-step=500.ckpt`, at the root or below `checkpoints/`, are what other programs write;
`archive/<UTC time>-<label>/` keeps what was moved away, under its old key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

CHECKPOINTS = "checkpoints/"
SURVEY_PREFIX = "checkpoint"  # one LIST finds `checkpoints/…` and `checkpoint-<n>/…`
STRAY_PREFIXES = ("step", "epoch=", "last")  # what else may lie at the root, looked for where that LIST finds nothing
ARCHIVE = "archive/"
SAMPLES = "samples/"
METRICS = "metrics.jsonl"
REPORT = "report/index.html"

# In each folder of samples, beside the pictures.
GRID = "grid.png"
PREVIEW = "grid-small.webp"
PROMPTS = "prompts.json"

MANIFEST = "MANIFEST.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
WEIGHTS_CONFIG = "unet/config.json"
EMA_WEIGHTS = "unet_ema/diffusion_pytorch_model.safetensors"
EMA_CONFIG = "unet_ema/config.json"
OPTIMIZER = "optimizer.safetensors"
TRAINER_STATE = "trainer_state.json"
NULL_EMBEDDING = "null_embedding.safetensors"
RETIRED = "RETIRED.json"  # retention began to delete the folder
DAMAGED = "DAMAGED.json"  # a reader found other bytes than the manifest promises

INTENT = "INTENT.json"
COMPLETED = "COMPLETED.json"
ABANDONED = "ABANDONED.json"

_MAX_STEP = 10**12
_WRITER = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_OWN = re.compile(rf"step-(\d{{8,12}})-({_WRITER})")
# Diffusers' scripts and transformers, Accelerate, torchtitan; files of hand-written loops and of Lightning.
_FOREIGN = re.compile(r"(?:checkpoint|step)[-_](\d{1,12})")
WEIGHTS_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_SUFFIX = r"\.(?:safetensors|ckpt|pt|pth|bin)"
_FILE = re.compile(rf"(?:checkpoint|ckpt|model|step)[-_](\d{{1,12}}){_SUFFIX}", re.IGNORECASE)
_LIGHTNING = re.compile(rf"(?:[\w.-]+-)?epoch=\d+(?:-[\w.=-]+)?-step=(\d{{1,12}})(?:-[\w.=-]+)?{_SUFFIX}", re.ASCII)
_LAST = re.compile(rf"last(?:-v\d+)?{_SUFFIX}")
_SAMPLES = re.compile(r"samples/step-(\d{8,12})")
_ARCHIVE_NAME = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({_WRITER})")
_TIME = "%Y%m%dT%H%M%SZ"
_NUMBER = re.compile(r"[0-9]+")
_LONGEST_NUMBER = 63  # of a writer


@dataclass(frozen=True)
class FolderName:
    """A checkpoint's name taken apart: a folder, or a single file (then `folder` is its key).

    `writer` is None for what other programs wrote; `step` is 0 where only the content can tell it (`last.ckpt`), which
    `names_step` says.
    """

    folder: str
    step: int
    writer: str | None
    is_file: bool = False
    names_step: bool = True
    root_name: str = ""

    @property
    def name(self) -> str:
        """The last part of the path, as people speak of it; of the store's root where `folder` is empty."""
        return self.folder.rpartition("/")[2] or self.root_name

    @property
    def age(self) -> tuple[int, str]:
        """What names sort by, oldest first: the step, then the writer, whose attempt 10 comes after its attempt 9."""
        return self.step, _NUMBER.sub(lambda number: number[0].zfill(_LONGEST_NUMBER), self.folder)

    @property
    def is_own(self) -> bool:
        """Whether the name says that t2i-trainer wrote it."""
        return self.writer is not None


def checkpoint_folder(step: int, writer: str) -> str:
    """Return `checkpoints/step-00005000-<writer>`; raises ValueError for a step or writer that would not read back."""
    name = f"step-{step:08d}-{writer}"
    if not 0 <= step < _MAX_STEP or not _OWN.fullmatch(name):
        raise ValueError(
            f"step {step!r}, writer {writer!r}: steps are 0 to 10^12, a writer is 1-63 of a-z, 0-9, inner '-'"
        )
    return CHECKPOINTS + name


def parse_folder(folder: str) -> FolderName | None:
    """Read a folder path or a single file's key relative to the URI, or None where it names no checkpoint."""
    parent, _, name = folder.rpartition("/")
    if parent not in {"", CHECKPOINTS.rstrip("/")}:
        return None
    found = parse_name(name)
    if found is None or (found.is_own and not parent):
        return None
    return replace(found, folder=folder)


def parse_name(name: str) -> FolderName | None:
    """Read the last part of a path, wherever it lies; None where it is not named as checkpoints are."""
    if own := _OWN.fullmatch(name):
        return FolderName(name, int(own[1]), own[2])
    if foreign := _FOREIGN.fullmatch(name):
        return FolderName(name, int(foreign[1]), None)
    if numbered := _FILE.fullmatch(name) or _LIGHTNING.fullmatch(name):
        return FolderName(name, int(numbered[1]), None, is_file=True)
    return FolderName(name, 0, None, is_file=True, names_step=False) if _LAST.fullmatch(name) else None


def folder_of(key: str) -> FolderName | None:
    """Return the checkpoint that an object key belongs to: the folder it lies in, or the file it is; or None."""
    parts = key.split("/")
    depth = 2 if parts[0] == CHECKPOINTS.rstrip("/") else 1
    found = parse_folder("/".join(parts[:depth]))
    return found if found is not None and found.is_file == (len(parts) == depth) else None


def archive_name(now: datetime, label: str) -> str:
    """Return `20251214T221758Z-custom-unet`; `now` must carry a time zone."""
    if now.tzinfo is None:
        raise ValueError("the time of an archive carries a time zone")
    name = f"{now.astimezone(UTC).strftime(_TIME)}-{label}"
    if not _ARCHIVE_NAME.fullmatch(name):
        raise ValueError(f"label {label!r}: 1-63 of a-z, 0-9, '-', no '-' at its ends")
    return name


def parse_archive_name(name: str) -> tuple[datetime, str] | None:
    """Return time and label of an archive folder's name, or None."""
    match = _ARCHIVE_NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC), match[2]
    except ValueError:
        return None


def earlier_metrics(sha256: str) -> str:
    """Return `metrics-521c42ad.jsonl`: where the rows of an earlier run are kept whose content has this hash."""
    return f"metrics-{sha256[:8]}.jsonl"


def sample_folder(step: int) -> str:
    """Return `samples/step-00005000`."""
    return f"{SAMPLES}step-{step:08d}"


def parse_sample_folder(folder: str) -> int | None:
    """Return the step of `samples/step-00005000`, or None."""
    match = _SAMPLES.fullmatch(folder)
    return None if match is None else int(match[1])
