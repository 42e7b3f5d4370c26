"""How a job is named inside the operator, and how any object leads to the job that owns it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from t2i_api.attempt import LABEL_ATTEMPT, LABEL_JOB


class JobKey(NamedTuple):
    """Namespace and name of a DiffusionTrainingJob: the unit of work of the queue."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def own_key(document: Mapping[str, Any]) -> JobKey:
    """Return the key of a DiffusionTrainingJob itself."""
    metadata = document["metadata"]
    return JobKey(metadata["namespace"], metadata["name"])


def owner_key(document: Mapping[str, Any]) -> JobKey | None:
    """Return the key of the job that a child's label names; None for an object that is no child."""
    metadata = document["metadata"]
    name = (metadata.get("labels") or {}).get(LABEL_JOB)
    return JobKey(metadata["namespace"], name) if name else None


def attempt_number(document: Mapping[str, Any]) -> int | None:
    """Return the attempt that a child's label names; None where it is no positive number."""
    text = (document["metadata"].get("labels") or {}).get(LABEL_ATTEMPT, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
