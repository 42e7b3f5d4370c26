"""Without an operator the trainer judges for itself: it resumes what fits and stops beside what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save

from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode
from t2i_checkpoint.open import open_store
from t2i_trainer.failures import TrainerError
from t2i_trainer.local import local_attempt

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store


@pytest.fixture
def job(job_spec: JobSpec) -> DiffusionTrainingJob:
    return DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=job_spec)


@pytest.fixture
def bucket(job_spec: JobSpec) -> Store:
    return open_store(job_spec.checkpoint.uri)


def test_an_empty_place_is_a_fresh_start_with_a_writer_of_its_own(job: DiffusionTrainingJob) -> None:
    first, second = local_attempt(job), local_attempt(job)
    assert first.resume_from is None
    assert (first.workers, first.processes_per_worker) == (1, 1)
    assert first.writer != second.writer
    assert local_attempt(job, processes=4).world_size == 4


def test_a_foreign_checkpoint_stops_it_and_stays(job: DiffusionTrainingJob, bucket: Store) -> None:
    old = save({"down.0.in_layers.2.weight": np.zeros((8, 4, 3, 3), dtype=np.float32)})
    bucket.put("checkpoint-5000/model.safetensors", old)
    with pytest.raises(TrainerError, match="checkpoint-5000 does not fit this job") as refused:
        local_attempt(job)
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS
    assert bucket.read("checkpoint-5000/model.safetensors") == old


def test_an_unreadable_checkpoint_stops_it_too(job: DiffusionTrainingJob, bucket: Store) -> None:
    bucket.put("checkpoint-5000/model.safetensors", b"\xff" * 64)
    with pytest.raises(TrainerError, match="could not be read"):
        local_attempt(job)


def test_an_unfinished_save_is_passed_over(job: DiffusionTrainingJob, bucket: Store) -> None:
    bucket.put("checkpoints/step-00000003-w/trainer_state.json", b"{}")
    assert local_attempt(job).resume_from is None
