"""The trainer reads back exactly what the user wrote and the operator decided."""

import json
from collections.abc import Callable

import pytest
import yaml

from t2i_api.attempt import AttemptDocument
from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import InitialWeightsStatus, VerdictKind
from t2i_operator.build import Beginning
from t2i_operator.build.documents import attempt_document, config_map

JobWith = Callable[..., DiffusionTrainingJob]


@pytest.mark.parametrize("resume_from", [None, "step-00000010-0d1f3a5c-a1"])
def test_both_files_read_back_as_they_were_meant(job_with: JobWith, resume_from: str | None) -> None:
    job = job_with()
    made = config_map(job, 2, Beginning(resume_from=resume_from))
    assert made["immutable"] is True
    assert DiffusionTrainingJob.from_object(yaml.safe_load(made["data"]["job.yaml"])).spec == job.spec
    document = AttemptDocument.model_validate(json.loads(made["data"]["attempt.json"]))
    assert document == attempt_document(job, 2, Beginning(resume_from=resume_from))
    assert document.resume_from == resume_from


def test_a_pinned_older_image_is_told_only_what_the_job_says_beyond_the_defaults(job_with: JobWith) -> None:
    # Was: every default of the operator's release was written, and a trainer of the release before refused the fields.
    read = yaml.safe_load(config_map(job_with(), 1, Beginning())["data"]["job.yaml"])
    assert read["spec"] == {
        "model": {
            "unet": {"preset": "tiny"},
            "textEncoder": {"uri": "s3://t2i/models/minilm"},
            "pixelUnshuffleFactor": 2,
        },
        "data": {"uri": "s3://t2i/data/emoji", "resolution": 32},
        "training": {"steps": 100, "globalBatchSize": 32, "learningRate": 0.001},
        "checkpoint": {"uri": "s3://t2i/emoji", "everySteps": 10},
        "workers": {"count": 2},
    }


def test_a_small_learning_rate_survives_yaml(job_with: JobWith) -> None:
    # PyYAML reads 1e-05 as text: the float must be written in a form that YAML 1.1 takes for a number.
    job = job_with({"spec.training.learningRate": 1e-5})
    read = yaml.safe_load(config_map(job, 1, Beginning())["data"]["job.yaml"])
    assert read["spec"]["training"]["learningRate"] == 1e-5
    assert isinstance(read["spec"]["training"]["learningRate"], float)


@pytest.mark.parametrize(
    ("workers", "processes", "world_size"),
    [
        ({"count": 2, "gpusPerWorker": 1}, 1, 2),
        ({"count": 2, "gpusPerWorker": 4}, 4, 8),
        ({"count": 1, "gpusPerWorker": 0}, 1, 1),
    ],
)
def test_the_world_is_what_the_job_asks_for(
    job_with: JobWith, workers: dict[str, int], processes: int, world_size: int
) -> None:
    document = attempt_document(job_with({"spec.workers": workers}), 1, Beginning())
    assert (document.processes_per_worker, document.world_size) == (processes, world_size)
    assert document.rendezvous_address == "emoji-1-0.emoji-1"


def test_initial_weights_are_told_as_they_were_decided(job_with: JobWith) -> None:
    weights = InitialWeightsStatus(
        uri="s3://models/sd15",
        endpoint="https://s3.example",
        region="eu-central-1",
        credentials_secret="models",
        folder="checkpoint-5000",
        verdict=VerdictKind.PARTIAL,
        allow_partial=True,
        fresh=2,
    )
    made = config_map(job_with(), 1, Beginning(initial_weights=weights))
    assert json.loads(made["data"]["attempt.json"])["initialWeights"] == {
        "uri": "s3://models/sd15",
        "endpoint": "https://s3.example",
        "region": "eu-central-1",
        "folder": "checkpoint-5000",
        "verdict": "partial",
        "allowPartial": True,
    }
