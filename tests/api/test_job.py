"""A job file read without an API server is checked as strictly, and says which field is wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from t2i_api.attempt import AttemptDocument, InitialWeightsDocument
from t2i_api.base import describe
from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import VerdictKind

JobWith = Callable[[dict[str, Any]], dict[str, Any]]

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no unet": ({"spec.model.unet": {}}, "exactly one of preset and config"),
    "channels that pixel space does not have": ({"spec.model.pixelUnshuffleFactor": 1}, "takes 12 channels"),
    "cosine with epsilon": ({"spec.diffusion": {"predictionType": "Epsilon"}}, "VPrediction"),
    "epsilon at pure noise": (
        {"spec.diffusion": {"schedule": "Linear", "predictionType": "Epsilon", "zeroTerminalSnr": True}},
        "zeroTerminalSnr needs predictionType VPrediction",
    ),
    "two remedies for grey pictures": (
        {"spec.diffusion": {"zeroTerminalSnr": True, "offsetNoise": 0.1}},
        "other starting noise than sampling draws",
    ),
    "a weight of 0 where sampling starts": (
        {"spec.diffusion": {"zeroTerminalSnr": True, "minSnrGamma": 5}},
        "never trains the last timestep",
    ),
    "pictures on a claim that is not mounted": (
        {"spec.data.uri": "file:///claims/laion/train", "spec.workers.template": {"sourceClaims": ["laion-2"]}},
        "data.uri lies on claim 'laion', which pods do not mount: name it in workers.template.sourceClaims",
    ),
    "models on a claim that is not mounted": (
        {"spec.model.textEncoder.uri": "file:///claims/models"},
        "model.textEncoder.uri lies on claim 'models'",
    ),
    "a claim that is read and written": (
        {"spec.workers.template": {"cacheClaim": "one", "sourceClaims": ["one"]}},
        "name different claims",
    ),
    "a claim named twice": ({"spec.workers.template": {"sourceClaims": ["one", "one"]}}, "holds a claim twice"),
    "warm-up longer than training": ({"spec.training.warmupSteps": 101}, "warmupSteps"),
    "forward passes of unequal size": ({"spec.training.microBatchSize": 3}, "share of 16 images"),
    "forward pass larger than the batch": ({"spec.training.microBatchSize": 64}, "must not exceed globalBatchSize"),
    "one graph of a model that is gathered block by block": (
        {"spec.training.compile": "WholeGraph", "spec.training.parallelism": "FullShard"},
        "set compile to Eager",
    ),
    "an average kept twice": ({"spec.training.ema": {"powerWidths": [0.1, 0.1]}}, "holds a width twice"),
    "a tracker named twice": ({"spec.training.trackers": ["MLflow", "MLflow"]}, "holds one twice"),
    "a hub without a repository": ({"spec.model.textEncoder.uri": "hf://clip"}, "spec.model.textEncoder.uri"),
    "a band that ends before it begins": (
        {"spec.expectations": {"bands": [{"fromStep": 2, "toStep": 1, "lossAtMost": 1}]}},
        "fromStep must not exceed toStep",
    ),
    "a band without a bound": (
        {"spec.expectations": {"bands": [{"fromStep": 1, "toStep": 2}]}},
        "lossAtLeast, lossAtMost or both",
    ),
    "a band upside down": (
        {"spec.expectations": {"bands": [{"fromStep": 1, "toStep": 2, "lossAtLeast": 1, "lossAtMost": 0.5}]}},
        "lossAtLeast must not exceed lossAtMost",
    ),
    "batch that does not divide": ({"spec.training.globalBatchSize": 33}, "multiple of the world size 2"),
    "a UNet of latents without an autoencoder": ({"spec.model.unet.preset": "stable-diffusion-v1"}, "model.vae"),
    "latents that are unshuffled": (
        {"spec.model.vae": {"uri": "s3://t2i/models/vae"}},
        "pixelUnshuffleFactor is for pixel space",
    ),
    "initial weights that it resumes anyway": (
        {"spec.model.initialWeights": {"uri": "s3://t2i/emoji/checkpoints/step-00000010-x/"}},
        "must not be what this job resumes by itself",
    ),
    "initial weights of its own whole prefix": (
        {"spec.model.initialWeights": {"uri": "s3://t2i/emoji/", "endpoint": "http://127.0.0.1:9000"}},
        "must not be what this job resumes by itself",
    ),
    "archive label that is no name": ({"spec.checkpoint.archive": {"label": "Old UNet"}}, "archive.label"),
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


LATENT = {
    "spec.model": {
        "unet": {"preset": "stable-diffusion-v1"},
        "textEncoder": {"uri": "s3://t2i/models/clip"},
        "vae": {"uri": "s3://t2i/models/vae"},
    },
    "spec.data.resolution": 512,
}
ELSEWHERE: dict[str, dict[str, Any]] = {
    "another job": {"uri": "s3://t2i/other"},
    "its own archive": {"uri": "s3://t2i/emoji/archive/20251214T221758Z-custom-unet/checkpoint-5000"},
    "one file": {"uri": "s3://models/v1-5-pruned.safetensors"},
    "the same bucket name on another server": {"uri": "s3://t2i/emoji", "endpoint": "https://s3.example"},
}


def test_a_latent_diffusion_job_can_be_described(job_with: JobWith) -> None:
    model = DiffusionTrainingJob.from_object(job_with(LATENT)).spec.model
    assert model.vae is not None
    assert (model.vae.scaling_factor, model.unet.resolved.in_channels) == (0.18215, 4)


EVERYTHING_NEW: dict[str, Any] = {
    "spec.model.textEncoder.uri": "hf://openai/clip-vit-large-patch14@main",
    "spec.diffusion": {"minSnrGamma": 5, "offsetNoise": 0.1},
    "spec.training.microBatchSize": 8,
    "spec.training.compile": "WholeGraph",
    "spec.training.ema": {"decay": 0.999, "powerWidths": [0.05, 0.1], "everySteps": 8},
    "spec.training.trackers": ["TensorBoard"],
    "spec.failurePolicy": {"maxSkippedSteps": 3, "maxRollbacks": 1},
    "spec.evaluation": {"everySteps": 10, "images": 8},
    "spec.expectations": {"preset": "FromScratchBands", "bands": [{"fromStep": 1, "toStep": 9, "lossAtMost": 1.5}]},
}


def test_every_choice_of_training_and_watching_can_be_described(job_with: JobWith) -> None:
    job = DiffusionTrainingJob.from_object(job_with(EVERYTHING_NEW))
    assert DiffusionTrainingJob.from_object({**job_with({}), "spec": job.spec.to_wire()}).spec == job.spec


def test_fields_at_their_defaults_are_no_change(job_with: JobWith) -> None:
    # A document that leaves them out, as every older one does, says the same.
    written = DiffusionTrainingJob.from_object(job_with({"spec.evaluation": {}, "spec.expectations": {"bands": []}}))
    assert written.spec == DiffusionTrainingJob.from_object(job_with({})).spec


@pytest.mark.parametrize("place", ELSEWHERE)
def test_initial_weights_may_come_from_elsewhere(job_with: JobWith, place: str) -> None:
    job = DiffusionTrainingJob.from_object(job_with({"spec.model.initialWeights": ELSEWHERE[place]}))
    assert job.spec.model.initial_weights is not None


def test_an_attempt_resumes_or_begins_with_weights() -> None:
    weights = InitialWeightsDocument(uri="s3://t2i/other", verdict=VerdictKind.PARTIAL, allow_partial=True)
    fields: dict[str, Any] = {
        "job_name": "emoji",
        "job_namespace": "team",
        "job_uid": "1",
        "attempt": 1,
        "workers": 1,
        "processes_per_worker": 1,
        "rendezvous_address": "emoji-1-0.emoji-1",
    }
    document = AttemptDocument(**fields, initial_weights=weights)
    assert AttemptDocument.model_validate(document.to_wire()) == document
    with pytest.raises(ValidationError, match="never both"):
        AttemptDocument(**fields, initial_weights=weights, resume_from="step-00000010-a1")
