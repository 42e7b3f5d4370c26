"""What one run is told: the job, the attempt and the machine's side of it, checked where they enter.

In a pod both documents are mounted by the operator; on a laptop `local.py` makes the attempt.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ValidationError

from t2i_api.attempt import CONFIGURATION_DIRECTORY, DEVICE_VARIABLE, INITIAL_WEIGHTS_VARIABLES, AttemptDocument
from t2i_api.base import describe
from t2i_api.job_file import JobFileError, parse_job
from t2i_api.progress import ExitCode
from t2i_checkpoint.open import PICTURE_SUFFIXES, open_location, open_store
from t2i_checkpoint.store import Credentials
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from t2i_api.attempt import InitialWeightsDocument
    from t2i_api.job import DiffusionTrainingJob, JobSpec
    from t2i_checkpoint.open import Location
    from t2i_checkpoint.store import Store

Device = Literal["cpu", "cuda"]
_MAXIMUM_DOCUMENT_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class RunConfiguration:
    """Everything that a process of the run knows before it starts; `run_directory` is shared within the pod."""

    job: DiffusionTrainingJob
    attempt: AttemptDocument
    device: Device
    run_directory: Path

    @property
    def spec(self) -> JobSpec:
        """The job's spec."""
        return self.job.spec

    def store(self, uri: str) -> Store:
        """Open a location of the job; endpoint and region hold for all of them."""
        return open_job_store(self.spec, uri)

    def open_pictures(self) -> Location:
        """Open `data.uri` as pictures: a folder, or one file that holds a set."""
        server = self.spec.checkpoint
        return open_location(
            self.spec.data.uri, suffixes=PICTURE_SUFFIXES, endpoint=server.endpoint, region=server.region
        )

    def open_initial_weights(self, given: InitialWeightsDocument) -> Location:
        """Open the place that the attempt's initial weights lie in."""
        return open_weights(given.uri, given.endpoint, given.region)

    @classmethod
    def read(cls, job_file: Path, attempt_file: Path, run_directory: Path) -> Self:
        """Read both documents; raises TrainerError(BAD_CONFIGURATION) naming file and field."""
        job, attempt = read_job(job_file), read_attempt(attempt_file)
        if job.spec.training.global_batch_size % attempt.world_size:
            raise TrainerError(
                ExitCode.BAD_CONFIGURATION,
                f"training.globalBatchSize {job.spec.training.global_batch_size} is no multiple of the world size "
                f"{attempt.world_size}: change the batch size or the number of processes",
            )
        return cls(job, attempt, choose_device(job.spec), run_directory)


def open_job_store(spec: JobSpec, uri: str) -> Store:
    """Open a location with the job's endpoint and region; credentials come from the environment."""
    return open_store(uri, endpoint=spec.checkpoint.endpoint, region=spec.checkpoint.region)


def open_weights(uri: str, endpoint: str | None, region: str | None) -> Location:
    """Open the location of initial weights, with credentials of their own where the environment has them."""
    names = [
        f"{INITIAL_WEIGHTS_VARIABLES}AWS_{part}" for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
    ]
    key, secret, token = (os.environ.get(name) or None for name in names)
    if (key is None) != (secret is None):
        raise _bad(
            f"{names[1] if secret is None else names[0]} is missing: set both halves of the key pair, or neither"
        )
    credentials = None if key is None or secret is None else Credentials(key, secret, token)
    return open_location(uri, endpoint=endpoint, region=region, credentials=credentials)


def read_job(path: Path) -> DiffusionTrainingJob:
    """Read a DiffusionTrainingJob from YAML."""
    try:
        return parse_job(_read(path))
    except JobFileError as error:
        raise _bad(f"{path}: {error}") from error


def read_attempt(path: Path) -> AttemptDocument:
    """Read `attempt.json`."""
    try:
        return AttemptDocument.model_validate_json(_read(path))
    except ValidationError as error:
        raise _bad(f"{path}: {describe(error)}") from error


def choose_device(spec: JobSpec) -> Device:
    """Return the device by T2I_DEVICE: `auto` means CUDA exactly when the job asks for GPUs."""
    wish = os.environ.get(DEVICE_VARIABLE, "auto")
    match wish:
        case "cpu" | "cuda":
            return wish
        case "auto":
            return "cuda" if spec.workers.gpus_per_worker > 0 else "cpu"
        case _:
            raise _bad(f"{DEVICE_VARIABLE} is {wish!r}: write auto, cpu or cuda")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAXIMUM_DOCUMENT_BYTES:
            raise _bad(f"{path} is larger than {_MAXIMUM_DOCUMENT_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        # The default is where a pod finds its job.
        way_out = ". Name the job's file with --job" if path.is_relative_to(CONFIGURATION_DIRECTORY) else ""
        raise _bad(f"{path} cannot be read: {error.strerror}{way_out}") from error


def _bad(message: str) -> TrainerError:
    return TrainerError(ExitCode.BAD_CONFIGURATION, message)
