"""A job file read without an API server is checked as strictly, and says which field is wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from t2i_api.base import describe
from t2i_api.job import DiffusionTrainingJob

JobWith = Callable[[dict[str, Any]], dict[str, Any]]

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no unet": ({"spec.model.unet": {}}, "exactly one of preset and config"),
    "channels that pixel space does not have": ({"spec.model.pixelUnshuffleFactor": 1}, "takes 12 channels"),
    "cosine with epsilon": ({"spec.diffusion": {"predictionType": "Epsilon"}}, "VPrediction"),
    "warm-up longer than training": ({"spec.training.warmupSteps": 101}, "warmupSteps"),
    "batch that does not divide": ({"spec.training.globalBatchSize": 33}, "multiple of the world size 2"),
    "unknown field": ({"spec.training.epochs": 3}, "spec.training.epochs"),
    "not a number": ({"spec.training.learningRate": float("nan")}, "spec.training.learningRate"),
    "another kind": ({"kind": "Job"}, "kind"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(job_with: JobWith, mistake: str) -> None:
    changes, words = MISTAKES[mistake]
    with pytest.raises(ValidationError) as refusal:
        DiffusionTrainingJob.from_object(job_with(changes))
    assert words in describe(refusal.value)


def test_a_job_survives_the_way_over_the_wire(job_with: JobWith) -> None:
    job = DiffusionTrainingJob.from_object(job_with({}))
    again = DiffusionTrainingJob.from_object({**job_with({}), "spec": job.spec.to_wire()})
    assert again.spec == job.spec


def test_the_world_is_one_process_a_gpu(job_with: JobWith) -> None:
    worlds = {
        (workers, gpus): DiffusionTrainingJob.from_object(
            job_with({"spec.workers.count": workers, "spec.workers.gpusPerWorker": gpus})
        ).spec.workers.world_size
        for workers, gpus in ((1, 0), (2, 0), (1, 8), (4, 8))
    }
    assert worlds == {(1, 0): 1, (2, 0): 2, (1, 8): 8, (4, 8): 32}
