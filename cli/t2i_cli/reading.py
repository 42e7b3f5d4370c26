"""Reads a job file as the operator would, and says in one line what is wrong with it."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from t2i_api.base import describe
from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.verdict import Wanted
from t2i_checkpoint.wanted import wanted_from


class UsageProblem(Exception):  # noqa: N818  # a mistake in the command or its input, not an error of ours
    """What the user wrote cannot be used; the message names field, value and way out."""

    exit_code = 2


def read_job(path: Path) -> DiffusionTrainingJob:
    """Return the one DiffusionTrainingJob in a YAML file; raises UsageProblem."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageProblem(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageProblem(f"{path}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise UsageProblem(f"{path}: expected one DiffusionTrainingJob, found {type(document).__name__}")
    try:
        return DiffusionTrainingJob.from_object(document)
    except ValidationError as error:
        raise UsageProblem(f"{path}: {describe(error)}") from error


def wanted_of(job: DiffusionTrainingJob) -> Wanted:
    """Return what the job asks of a checkpoint; raises UsageProblem for a model that cannot be derived."""
    try:
        return wanted_from(job.spec)
    except ValueError as error:
        raise UsageProblem(f"model.unet: {error}") from error
