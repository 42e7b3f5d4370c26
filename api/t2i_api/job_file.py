"""A job's file as people write it: YAML to a DiffusionTrainingJob, and whatever is wrong with it as one error.

Command line, Python and trainer read the same files, and refuse them in the same words.
"""

import yaml
from pydantic import ValidationError

from t2i_api.base import describe
from t2i_api.job import DiffusionTrainingJob


class JobFileError(ValueError):
    """The text is no job; the message names the place or the field, and the way out."""


def parse_job(text: bytes) -> DiffusionTrainingJob:
    """Return the one DiffusionTrainingJob in a YAML document; raises JobFileError."""
    try:
        document = yaml.safe_load(text)
    except yaml.reader.ReaderError as error:
        raise JobFileError(f"not YAML: {error}. Save the file as UTF-8 text") from error
    except yaml.YAMLError as error:
        raise JobFileError(f"not YAML: {error}") from error
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # of its constructors, as for 2026-13-01
        raise JobFileError(f"not YAML: {type(error).__name__}: {error}") from error
    except RecursionError as error:
        raise JobFileError("not YAML of a job: it is nested too deeply") from error
    if not isinstance(document, dict):
        raise JobFileError(f"expected one DiffusionTrainingJob, found {type(document).__name__}")
    try:
        return DiffusionTrainingJob.from_object(document)
    except ValidationError as error:
        raise JobFileError(describe(error, DiffusionTrainingJob)) from error
