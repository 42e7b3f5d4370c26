"""Where everything lies below a checkpoint URI, and how the names are written and read back. Pure.

`checkpoints/step-00005000-<writer>/` is ours; `checkpoint-<n>/`, at the root or below `checkpoints/`, is what other
programs write; `archive/<UTC time>-<label>/` keeps what was moved away, under its old key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

CHECKPOINTS = "checkpoints/"
SURVEY_PREFIX = "checkpoint"  # one LIST finds `checkpoints/…` and `checkpoint-<n>/…`
ARCHIVE = "archive/"
SAMPLES = "samples/"
METRICS = "metrics.jsonl"

MANIFEST = "MANIFEST.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
WEIGHTS_CONFIG = "unet/config.json"
EMA_WEIGHTS = "unet_ema/diffusion_pytorch_model.safetensors"
EMA_CONFIG = "unet_ema/config.json"
OPTIMIZER = "optimizer.safetensors"
TRAINER_STATE = "trainer_state.json"

INTENT = "INTENT.json"
COMPLETED = "COMPLETED.json"
ABANDONED = "ABANDONED.json"

_MAX_STEP = 10**12
_WRITER = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_OWN = re.compile(rf"step-(\d{{8,12}})-({_WRITER})")
_FOREIGN = re.compile(r"checkpoint-(\d{1,12})")
_ARCHIVE_NAME = re.compile(rf"(\d{{8}}T\d{{6}}Z)-({_WRITER})")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class FolderName:
    """A checkpoint folder's name taken apart; `writer` is None for folders that other programs wrote."""

    folder: str
    step: int
    writer: str | None

    @property
    def name(self) -> str:
        """The last part of the path, as people speak of it."""
        return self.folder.rpartition("/")[2]

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
    """Read a folder path relative to the URI, or None where it names no checkpoint."""
    parent, _, name = folder.rpartition("/")
    if parent not in {"", CHECKPOINTS.rstrip("/")}:
        return None
    if (own := _OWN.fullmatch(name)) and parent:
        return FolderName(folder, int(own[1]), own[2])
    if foreign := _FOREIGN.fullmatch(name):
        return FolderName(folder, int(foreign[1]), None)
    return None


def folder_of(key: str) -> FolderName | None:
    """Return the checkpoint folder that an object key lies in, or None."""
    parts = key.split("/")
    depth = 2 if parts[0] == CHECKPOINTS.rstrip("/") else 1
    return parse_folder("/".join(parts[:depth])) if len(parts) > depth else None


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


def sample_folder(step: int) -> str:
    """Return `samples/step-00005000`."""
    return f"{SAMPLES}step-{step:08d}"
