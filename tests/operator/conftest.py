"""A job of the operator's tests, valid in every field, and how to change it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.job import DiffusionTrainingJob

JobWith = Callable[..., DiffusionTrainingJob]

_JOB: dict[str, Any] = {
    "apiVersion": "training.t2i.dev/v1alpha1",
    "kind": "DiffusionTrainingJob",
    "metadata": {"name": "emoji", "namespace": "team", "uid": "0d1f3a5c-0000-4000-8000-000000000001", "generation": 1},
    "spec": {
        "model": {
            "unet": {"preset": "tiny"},
            "textEncoder": {"uri": "s3://t2i/models/minilm"},
            "pixelUnshuffleFactor": 2,
        },
        "data": {"uri": "s3://t2i/data/emoji", "resolution": 32},
        "training": {"steps": 100, "globalBatchSize": 32, "learningRate": 0.001},
        "checkpoint": {"uri": "s3://t2i/emoji", "everySteps": 10},
        "workers": {"count": 2, "gpusPerWorker": 1},
    },
}


@pytest.fixture(scope="session")
def job_with() -> JobWith:
    """Build the valid job with some fields changed, given by dotted path: `{"spec.workers.count": 1}`."""

    def build(changes: dict[str, Any] | None = None) -> DiffusionTrainingJob:
        document = copy.deepcopy(_JOB)
        for path, value in (changes or {}).items():
            *parents, last = path.split(".")
            place = document
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        return DiffusionTrainingJob.from_object(document)

    return build
