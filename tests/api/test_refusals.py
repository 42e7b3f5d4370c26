"""Wrong specs are refused by the real API server with a sentence that names the field and the way out."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.api.conftest import CONFIG

from t2i_dev.cluster import LocalCluster
from t2i_dev.errors import ComponentFailedError

pytestmark = pytest.mark.cluster

# What is wrong, and the words that the answer must contain: the field and the way out.
ON_CREATE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no unet": ({"spec.model.unet": {}}, ("model.unet", "exactly one of preset and config")),
    "preset and config": (
        {"spec.model.unet.config": CONFIG},
        ("model.unet", "exactly one of preset and config", "preset: tiny"),
    ),
    "unknown preset": ({"spec.model.unet.preset": "sd15"}, ("spec.model.unet.preset", "stable-diffusion-v1", "tiny")),
    "channels that pixel space does not have": (
        {"spec.model.unet": {"config": {**CONFIG, "in_channels": 4}}},
        ("in_channels", "12 for factor 2"),
    ),
    "picture larger than the UNet's input": (
        {"spec.model.unet": {"config": CONFIG}, "spec.data.resolution": 64},
        ("sample_size", "data.resolution"),
    ),
    "misspelt UNet field": (
        {"spec.model.unet": {"config": {**CONFIG, "block_channels": [1]}}},
        ('unknown field "spec.model.unet.config.block_channels"',),
    ),
    "no text encoder": ({"spec.model.textEncoder": None}, ("spec.model.textEncoder", "Required value")),
    "text encoder without a scheme": (
        {"spec.model.textEncoder.uri": "models/minilm"},
        ("spec.model.textEncoder.uri", "s3://bucket/prefix"),
    ),
    "resolution that no UNet halves": (
        {"spec.data.resolution": 33},
        ("spec.data.resolution", "multiple of 8"),
    ),
    "cosine with epsilon": (
        {"spec.diffusion.schedule": "Cosine", "spec.diffusion.predictionType": "Epsilon"},
        ("diffusion.schedule Cosine", "set diffusion.predictionType to VPrediction"),
    ),
    "schedule in Diffusers' spelling": (
        {"spec.diffusion.schedule": "squaredcos_cap_v2"},
        ("spec.diffusion.schedule", '"Cosine"', '"ScaledLinear"'),
    ),
    "epsilon at pure noise": (
        {"spec.diffusion": {"schedule": "Linear", "predictionType": "Epsilon", "zeroTerminalSnr": True}},
        ("diffusion.zeroTerminalSnr needs predictionType VPrediction", "remove zeroTerminalSnr"),
    ),
    "two remedies for grey pictures": (
        {"spec.diffusion": {"zeroTerminalSnr": True, "offsetNoise": 0.1}},
        ("diffusion.offsetNoise with zeroTerminalSnr", "remove offsetNoise"),
    ),
    "a weight of 0 where sampling starts": (
        {"spec.diffusion": {"zeroTerminalSnr": True, "minSnrGamma": 5}},
        ("diffusion.minSnrGamma with zeroTerminalSnr", "Remove diffusion.minSnrGamma or zeroTerminalSnr"),
    ),
    "pictures on a claim that is not mounted": (
        {"spec.data.uri": "file:///claims/laion/train", "spec.workers.template": {"sourceClaims": ["laion-2"]}},
        ("data.uri lies on a claim that pods do not mount", "name it in workers.template.sourceClaims"),
    ),
    "a text encoder on a claim that is not mounted": (
        {"spec.model.textEncoder.uri": "file:///claims/models"},
        ("model.textEncoder.uri lies on a claim that pods do not mount",),
    ),
    "an autoencoder on a claim that is not mounted": (
        {
            "spec.model": {
                "unet": {"preset": "stable-diffusion-v1"},
                "textEncoder": {"uri": "hf://openai/clip-vit-large-patch14"},
                "vae": {"uri": "file:///claims/models/vae"},
            }
        },
        ("model.vae.uri lies on a claim that pods do not mount",),
    ),
    "a claim that is read and written": (
        {"spec.workers.template": {"cacheClaim": "one", "sourceClaims": ["one"]}},
        ("workers.template.cacheClaim is written to", "name different claims"),
    ),
    "a claim named twice": (
        {"spec.workers.template": {"sourceClaims": ["one", "one"]}},
        ("spec.workers.template.sourceClaims", "Duplicate value"),
    ),
    "offset noise as loud as two pictures": (
        {"spec.diffusion": {"offsetNoise": 2}},
        ("spec.diffusion.offsetNoise", "less than or equal to 1"),
    ),
    "min-SNR of nothing": ({"spec.diffusion": {"minSnrGamma": 0}}, ("spec.diffusion.minSnrGamma", "greater than 0")),
    "dropout of everything": (
        {"spec.diffusion.conditioningDropout": 1},
        ("conditioningDropout", "less than or equal to"),
    ),
    "no steps": ({"spec.training.steps": 0}, ("spec.training.steps", "greater than or equal to 1")),
    "learning rate of zero": ({"spec.training.learningRate": 0}, ("spec.training.learningRate", "greater than 0")),
    "learning rate as text": (
        {"spec.training.learningRate": "1e-4"},
        ("spec.training.learningRate", "must be of type number"),
    ),
    "warm-up longer than training": (
        {"spec.training.warmupSteps": 101},
        ("training.warmupSteps", "lower warmupSteps or train longer"),
    ),
    "batch that does not divide": (
        {"spec.training.globalBatchSize": 33},
        ("training.globalBatchSize", "multiple of workers.count x workers.gpusPerWorker"),
    ),
    "forward passes of unequal size": (
        {"spec.training.microBatchSize": 3},
        ("training.microBatchSize must divide a process's share",),
    ),
    "forward pass larger than the batch": (
        {"spec.training.microBatchSize": 64},
        ("training.microBatchSize must not exceed training.globalBatchSize",),
    ),
    "one graph of a model that is gathered block by block": (
        {"spec.training.compile": "WholeGraph", "spec.training.parallelism": "FullShard"},
        ("training.parallelism FullShard", "set training.compile to Eager"),
    ),
    "a graph of parts": ({"spec.training.compile": "Parts"}, ("spec.training.compile", '"Eager"', '"WholeGraph"')),
    "a tracker that is not offered": (
        {"spec.training.trackers": ["Comet"]},
        ("spec.training.trackers[0]", '"TensorBoard"', '"WandB"', '"MLflow"'),
    ),
    "an average wider than a uniform one": (
        {"spec.training.ema": {"powerWidths": [0.3]}},
        ("spec.training.ema.powerWidths[0]", "less than or equal to 0.28"),
    ),
    "an average kept twice": (
        {"spec.training.ema": {"powerWidths": [0.1, 0.1]}},
        ("spec.training.ema.powerWidths[1]", "Duplicate value"),
    ),
    "four averages": (
        {"spec.training.ema": {"powerWidths": [0.05, 0.1, 0.15, 0.2]}},
        ("spec.training.ema.powerWidths", "at most 3"),
    ),
    "a hub without a repository": (
        {"spec.model.textEncoder.uri": "hf://clip"},
        ("spec.model.textEncoder.uri", "hf://organisation/name[@revision][/folder]"),
    ),
    "going back for ever": (
        {"spec.failurePolicy": {"maxRollbacks": 101}},
        ("spec.failurePolicy.maxRollbacks", "less than or equal to 100"),
    ),
    "evaluation of nothing": ({"spec.evaluation": {"images": 0}}, ("spec.evaluation.images", "greater than or equal")),
    "a band that ends before it begins": (
        {"spec.expectations": {"bands": [{"fromStep": 2, "toStep": 1, "lossAtMost": 1}]}},
        ("expectations.bands: fromStep must not exceed toStep",),
    ),
    "a band without a bound": (
        {"spec.expectations": {"bands": [{"fromStep": 1, "toStep": 2}]}},
        ("expectations.bands: a band needs lossAtLeast, lossAtMost or both",),
    ),
    "a band upside down": (
        {"spec.expectations": {"bands": [{"fromStep": 1, "toStep": 2, "lossAtLeast": 1, "lossAtMost": 0.5}]}},
        ("expectations.bands: lossAtLeast must not exceed lossAtMost",),
    ),
    "precision that is not offered": ({"spec.training.precision": "FP8"}, ("spec.training.precision", '"BF16"')),
    "sampling without prompts": (
        {"spec.sampling.prompts": []},
        ("sampling.everySteps needs sampling.prompts", "at least one prompt"),
    ),
    "empty prompt": ({"spec.sampling.prompts": [""]}, ("spec.sampling.prompts[0]", "at least 1 chars")),
    "too many prompts": ({"spec.sampling.prompts": ["a"] * 65}, ("spec.sampling.prompts", "at most 64")),
    "checkpoints on a pod's disk": (
        {"spec.checkpoint.uri": "file:///checkpoints"},
        ("checkpoint.uri must be s3://bucket/prefix in a cluster",),
    ),
    "checkpoint prefix with an empty part": (
        {"spec.checkpoint.uri": "s3://t2i//emoji"},
        ("spec.checkpoint.uri", "without empty parts"),
    ),
    "endpoint without a scheme": (
        {"spec.checkpoint.endpoint": "minio:9000"},
        ("spec.checkpoint.endpoint", "endpoint must be a URL", "http://host:port"),
    ),
    "checkpoint after the end": (
        {"spec.checkpoint.everySteps": 101},
        ("checkpoint.everySteps must not exceed training.steps",),
    ),
    "retain nothing": ({"spec.checkpoint.retain": 0}, ("spec.checkpoint.retain", "greater than or equal to 1")),
    "delete what does not fit": (
        {"spec.checkpoint.onIncompatible": "Delete"},
        ("spec.checkpoint.onIncompatible", '"Archive"', '"Fail"', '"WarmStart"'),
    ),
    "archive by deleting": (
        {"spec.checkpoint.archive": {"method": "Delete"}},
        ("spec.checkpoint.archive.method", '"Move"', '"Reference"'),
    ),
    "archive label that is no name": (
        {"spec.checkpoint.archive": {"label": "Old UNet"}},
        ("checkpoint.archive.label has 1 to 63 of a-z, 0-9", "before-attention-fix"),
    ),
    "a UNet of latents without an autoencoder": (
        {"spec.model.unet.preset": "stable-diffusion-v1"},
        ("model.unet.preset", "model.vae", "preset tiny"),
    ),
    "latents that are unshuffled": (
        {"spec.model.vae": {"uri": "s3://t2i/models/vae"}},
        ("model.pixelUnshuffleFactor is for pixel space", "remove model.vae"),
    ),
    "latents of no size": (
        {"spec.model.vae": {"uri": "s3://t2i/models/vae", "scalingFactor": 0}},
        ("spec.model.vae.scalingFactor", "greater than 0"),
    ),
    "initial weights from a pod's disk": (
        {"spec.model.initialWeights": {"uri": "file:///weights/model.safetensors"}},
        ("model.initialWeights.uri must be s3://bucket/path in a cluster",),
    ),
    "initial weights without a scheme": (
        {"spec.model.initialWeights": {"uri": "runwayml/stable-diffusion-v1-5"}},
        ("spec.model.initialWeights.uri", "s3://bucket/prefix"),
    ),
    "initial weights that it resumes anyway": (
        {"spec.model.initialWeights": {"uri": "s3://t2i/emoji/checkpoints/step-00000010-x/"}},
        ("model.initialWeights.uri must not be what this job resumes by itself", "below archive/"),
    ),
    "initial weights of its own whole prefix": (
        {"spec.model.initialWeights": {"uri": "s3://t2i/emoji", "endpoint": "http://127.0.0.1:9000"}},
        ("model.initialWeights.uri must not be what this job resumes by itself",),
    ),
    "initial weights' endpoint without a scheme": (
        {"spec.model.initialWeights": {"uri": "s3://t2i/other", "endpoint": "minio:9000"}},
        ("spec.model.initialWeights.endpoint", "endpoint must be a URL"),
    ),
    "initial weights' secret of another namespace": (
        {"spec.model.initialWeights": {"uri": "s3://t2i/other", "credentialsSecretRef": {"name": "team-b/keys"}}},
        ("spec.model.initialWeights.credentialsSecretRef.name", "should match"),
    ),
    "initial weights' credentials in the environment": (
        {"spec.workers.template.env": [{"name": "T2I_INITIAL_WEIGHTS_AWS_ACCESS_KEY_ID", "value": "x"}]},
        ("workers.template.env", "model.initialWeights", "remove this variable"),
    ),
    "secret of another namespace": (
        {"spec.checkpoint.credentialsSecretRef": {"name": "kube-system/admin"}},
        ("spec.checkpoint.credentialsSecretRef.name", "should match"),
    ),
    "no workers": ({"spec.workers.count": 0}, ("spec.workers.count", "greater than or equal to 1")),
    "credentials in the environment": (
        {"spec.workers.template.env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}]},
        ("workers.template.env", "checkpoint.credentialsSecretRef", "remove this variable"),
    ),
    "rendezvous taken over": (
        {"spec.workers.template.env": [{"name": "MASTER_ADDR", "value": "x"}]},
        ("workers.template.env", "remove this variable"),
    ),
    "privileged pods": (
        {"spec.workers.template.securityContext": {"privileged": True}},
        ('unknown field "spec.workers.template.securityContext"',),
    ),
    "label value that no pod may have": (
        {"spec.workers.template.labels": {"team": "a b"}},
        ("spec.workers.template.labels", "a label value has letters, digits"),
    ),
    "toleration of nothing": (
        {"spec.workers.template.tolerations": [{"effect": "NoSchedule"}]},
        ("workers.template.tolerations", "operator: Exists"),
    ),
    "more restarts than are remembered": (
        {"spec.failurePolicy.maxRestarts": 61},
        ("spec.failurePolicy.maxRestarts", "less than or equal to 60"),
    ),
    "stall limit below a step": (
        {"spec.failurePolicy.stallSeconds": 1},
        ("spec.failurePolicy.stallSeconds", "greater than or equal to 30"),
    ),
    "name too long for pods": (
        {"metadata.name": "e" * 41},
        ("metadata.name must have at most 40 characters",),
    ),
    "name that no Service may have": (
        {"metadata.name": "1emoji"},
        ("metadata.name must begin with a letter",),
    ),
}

ON_UPDATE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "another model": ({"spec.model.unet.preset": None, "spec.model.unet.config": CONFIG}, ("model cannot change",)),
    "a longer context": ({"spec.model.textEncoder.maxTokens": 32}, ("model cannot change", "another name")),
    "latents instead of pixels": (
        {"spec.model.vae": {"uri": "s3://t2i/models/vae"}, "spec.model.pixelUnshuffleFactor": 1},
        ("model cannot change", "another name"),
    ),
    "another prediction type": (
        {"spec.diffusion": {"schedule": "Linear", "predictionType": "Epsilon"}},
        ("diffusion cannot change", "another name"),
    ),
    "another last timestep": ({"spec.diffusion": {"zeroTerminalSnr": True}}, ("diffusion cannot change",)),
    "other averages": (
        {"spec.training.ema": {"powerWidths": [0.05]}},
        ("training.ema.powerWidths cannot change", "another name"),
    ),
    "another seed": ({"spec.training.seed": 1}, ("training.seed cannot change",)),
    "another batch size": ({"spec.training.globalBatchSize": 64}, ("training.globalBatchSize cannot change",)),
    "fewer steps": ({"spec.training.steps": 99}, ("training.steps can only grow", "suspend: true")),
    "another prefix": ({"spec.checkpoint.uri": "s3://t2i/other"}, ("checkpoint.uri cannot change",)),
    "other data": ({"spec.data.uri": "s3://t2i/other"}, ("data.uri and data.resolution cannot change",)),
    "another controller": ({"spec.managedBy": "example.com/other"}, ("managedBy cannot change",)),
}

JobWith = Callable[[dict[str, Any]], dict[str, Any]]


def _answer(cluster: LocalCluster, document: dict[str, Any]) -> str:
    with pytest.raises(ComponentFailedError) as refusal:
        cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(document))
    return str(refusal.value)


@pytest.mark.parametrize("mistake", ON_CREATE)
def test_a_wrong_spec_is_refused(api_server: LocalCluster, job_with: JobWith, mistake: str) -> None:
    changes, expected = ON_CREATE[mistake]
    answer = _answer(api_server, job_with(changes))
    for words in expected:
        assert words in answer


@pytest.mark.parametrize("mistake", ON_UPDATE)
def test_a_change_that_no_checkpoint_survives_is_refused(
    api_server: LocalCluster, job_with: JobWith, mistake: str
) -> None:
    api_server.kubectl("apply", "-f", "-", stdin=json.dumps(job_with({"metadata.name": "kept"})))
    changes, expected = ON_UPDATE[mistake]
    answer = _answer(api_server, job_with({"metadata.name": "kept", **changes}))
    for words in expected:
        assert words in answer
