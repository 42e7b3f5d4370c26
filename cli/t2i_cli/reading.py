"""Reads a job file as the operator would, and says in one line what is wrong with it."""

from pathlib import Path

from t2i_api.job import DiffusionTrainingJob
from t2i_api.job_file import JobFileError, parse_job
from t2i_checkpoint.verdict import Wanted
from t2i_checkpoint.wanted import wanted_from


class UsageProblem(Exception):  # noqa: N818  # a mistake in the command or its input, not an error of ours
    """What the user wrote cannot be used; the message names field, value and way out."""

    exit_code = 2


def read_job(path: Path) -> DiffusionTrainingJob:
    """Return the one DiffusionTrainingJob in a YAML file; raises UsageProblem."""
    try:
        return parse_job(path.read_bytes())
    except OSError as error:
        raise UsageProblem(f"{path}: {error.strerror}") from error
    except JobFileError as error:
        raise UsageProblem(f"{path}: {error}") from error


def wanted_of(job: DiffusionTrainingJob) -> Wanted:
    """Return what the job asks of a checkpoint; raises UsageProblem for a model that cannot be derived."""
    try:
        return wanted_from(job.spec)
    except ValueError as error:
        raise UsageProblem(f"model.unet: {error}") from error
