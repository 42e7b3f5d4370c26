"""What a save asks the uploading process to do, and its answer: one line of JSON each. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from t2i_api.progress import ExitCode
from t2i_checkpoint.manifest import Manifest

UNKNOWN_SHA256 = "0" * 64


class ChannelsLast(BaseModel):
    """A tensor of `shape` [N, C, H, W] whose bytes, from `offset` of its file on, still lie as [N, H, W, C]."""

    model_config = ConfigDict(frozen=True)

    offset: int
    item_bytes: Literal[1, 2, 4, 8]
    shape: tuple[int, int, int, int]


class SaveOrder(BaseModel):
    """A checkpoint that lies in files of this machine and is to be published.

    `manifest` is complete but for the SHA-256 of its files (`UNKNOWN_SHA256`). `sources` tells for every path of the
    manifest which file to read, `channels_last` what is to be turned there first; `metrics` is a file too.
    """

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    sources: dict[str, str]
    channels_last: dict[str, tuple[ChannelsLast, ...]] = {}
    metrics: str
    retain: int


class SaveOutcome(BaseModel):
    """The manifest as it was read back from the store, or what went wrong; `seconds` from order to end."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    manifest: Manifest | None = None
    code: ExitCode = ExitCode.CRASHED
    message: str = ""
