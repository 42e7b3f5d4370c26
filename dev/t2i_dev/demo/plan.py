"""What a run of the demo consists of: the short one for CI, the full one whose pictures follow their prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from t2i_api.job import DiffusionTrainingJob
from t2i_dev.paths import repository_root

BUCKET_URI = "s3://t2i"
SECRET_NAME = "bucket-credentials"


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """One example and what happens to it on the way."""

    example: Path
    kill_after_step: int  # the first committed checkpoint at or after this step is what attempt 2 resumes
    timeout_seconds: float

    def document(self, *, endpoint: str, name: str | None = None, uri: str | None = None) -> dict[str, Any]:
        """The example as an object for kubectl, with the endpoint of the local S3 server."""
        document: dict[str, Any] = yaml.safe_load(self.example.read_text())
        document["spec"]["checkpoint"]["endpoint"] = endpoint
        if name is not None:
            document["metadata"]["name"] = name
        if uri is not None:
            document["spec"]["checkpoint"]["uri"] = uri
        return document

    @property
    def job(self) -> DiffusionTrainingJob:
        """The example as the operator reads it."""
        return DiffusionTrainingJob.from_object(yaml.safe_load(self.example.read_text()))


def short_plan() -> DemoPlan:
    """About a minute of training: shows the story, not the pictures."""
    example = repository_root() / "examples" / "emoji-short.yaml"
    return _plan(example, timeout_seconds=900)


def full_plan() -> DemoPlan:
    """Several minutes of training: pictures that follow their prompts."""
    example = repository_root() / "examples" / "emoji.yaml"
    return _plan(example, timeout_seconds=3600)


def _plan(example: Path, *, timeout_seconds: float) -> DemoPlan:
    document = yaml.safe_load(example.read_text())
    half = int(document["spec"]["training"]["steps"]) // 2
    return DemoPlan(example=example, kill_after_step=half, timeout_seconds=timeout_seconds)
