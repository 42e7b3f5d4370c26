"""What a save asks the uploading process to do, and its answer: one line of JSON each. No torch here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from t2i_api.progress import ExitCode
from t2i_checkpoint.manifest import Manifest

UNKNOWN_SHA256 = "0" * 64


class SaveOrder(BaseModel):
    """A checkpoint that lies in files of this machine and is to be published.

    `manifest` is complete but for the SHA-256 of its files (`UNKNOWN_SHA256`). `sources` tells for every path of the
    manifest which file to read; `metrics` is a file too.
    """

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    sources: dict[str, str]
    metrics: str
    retain: int


class SaveOutcome(BaseModel):
    """The manifest as it was read back from the store, or what went wrong; `seconds` from order to end."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    manifest: Manifest | None = None
    code: ExitCode = ExitCode.CRASHED
    message: str = ""
