"""Without an operator the trainer judges for itself: it resumes what fits and stops beside what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode
from t2i_api.status import VerdictKind
from t2i_checkpoint.load_plan import load_plan
from t2i_checkpoint.open import open_store
from t2i_checkpoint.unet import unet_architecture
from t2i_checkpoint.wanted import wanted_from
from t2i_trainer.configuration import open_weights
from t2i_trainer.failures import TrainerError
from t2i_trainer.local import local_attempt

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("processes", [0, -1])
def test_a_run_of_no_process_is_refused(job: DiffusionTrainingJob, processes: int) -> None:
    with pytest.raises(TrainerError, match=f"processes is {processes}: a run has at least one") as caught:
        local_attempt(job, processes=processes)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


def test_a_foreign_checkpoint_stops_it_and_stays(job: DiffusionTrainingJob, bucket: Store) -> None:
    old = save({"down.0.in_layers.2.weight": np.zeros((8, 4, 3, 3), dtype=np.float32)})
    bucket.put("checkpoint-5000/model.safetensors", old)
    with pytest.raises(TrainerError, match="checkpoint-5000 does not fit this job") as refused:
        local_attempt(job)
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS
    assert "t2i checkpoint archive" in str(refused.value)
    assert bucket.read("checkpoint-5000/model.safetensors") == old


def test_an_unreadable_checkpoint_stops_it_too(job: DiffusionTrainingJob, bucket: Store) -> None:
    bucket.put("checkpoint-5000/model.safetensors", b"\xff" * 64)
    with pytest.raises(TrainerError, match="could not be read") as refused:
        local_attempt(job)
    assert refused.value.code is ExitCode.STORAGE_UNAVAILABLE


def test_an_unfinished_save_is_passed_over(job: DiffusionTrainingJob, bucket: Store) -> None:
    bucket.put("checkpoints/step-00000003-w/trainer_state.json", b"{}")
    assert local_attempt(job).resume_from is None


def weights_of(spec: JobSpec, **changes: Any) -> bytes:
    """Zeros under the names of the job's UNet, with some of its options changed."""
    config = spec.model.unet.resolved.model_copy(update=changes)
    shapes = unet_architecture(config).parameters
    return save({name: np.zeros(each.shape, dtype=np.float32) for name, each in shapes.items()})


def with_policy(job: DiffusionTrainingJob, policy: str, initial_weights: str | None = None) -> DiffusionTrainingJob:
    document = job.spec.to_wire()
    document["checkpoint"]["onIncompatible"] = policy
    if initial_weights is not None:
        document["model"]["initialWeights"] = {"uri": initial_weights}
    return job.model_copy(update={"spec": JobSpec.model_validate(document)})


def test_weights_of_another_program_are_what_it_begins_with(job: DiffusionTrainingJob, bucket: Store) -> None:
    bucket.put("checkpoint-5/model.safetensors", weights_of(job.spec))
    attempt = local_attempt(job)
    assert attempt.resume_from is None
    assert attempt.initial_weights is not None
    given = attempt.initial_weights
    assert (given.uri, given.folder, given.allow_partial) == (job.spec.checkpoint.uri, "checkpoint-5", False)
    assert given.verdict is VerdictKind.INFERENCE_ONLY


def test_a_partial_fit_is_taken_only_when_the_job_says_so(job: DiffusionTrainingJob, bucket: Store) -> None:
    bucket.put("checkpoint-5/model.safetensors", weights_of(job.spec, cross_attention_dim=24))
    with pytest.raises(TrainerError) as refused:
        local_attempt(job)
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS
    given = local_attempt(with_policy(job, "WarmStart")).initial_weights
    assert given is not None
    assert (given.verdict, given.allow_partial) == (VerdictKind.PARTIAL, True)


@pytest.mark.parametrize("path", ["other/checkpoint-5", "other/checkpoint-5/model.safetensors", "other"])
def test_the_jobs_initial_weights_are_found_as_root_folder_or_file(
    job: DiffusionTrainingJob, tmp_path: Path, path: str
) -> None:
    open_store(f"file://{tmp_path}").put("other/checkpoint-5/model.safetensors", weights_of(job.spec))
    uri = f"file://{tmp_path}/{path}"
    given = local_attempt(with_policy(job, "Archive", uri)).initial_weights
    assert given is not None
    assert given.uri == uri
    location = open_weights(given.uri, given.endpoint, given.region)
    wanted = wanted_from(job.spec)
    plan = load_plan(location.store, given.folder or location.key or "", wanted, allow_partial=False)
    assert set(plan.weights) == set(wanted.architecture)


def test_fail_begins_with_nothing_that_lies_there(job: DiffusionTrainingJob, bucket: Store) -> None:
    bucket.put("checkpoint-5/model.safetensors", weights_of(job.spec))
    with pytest.raises(TrainerError, match="onIncompatible is Fail"):
        local_attempt(with_policy(job, "Fail"))
