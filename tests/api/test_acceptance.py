"""Right specs and right changes are accepted by the real API server, and it explains every field."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.api.conftest import CONFIG

from t2i_dev.cluster import LocalCluster

pytestmark = pytest.mark.cluster

JobWith = Callable[[dict[str, Any]], dict[str, Any]]


def test_the_valid_job_is_accepted(api_server: LocalCluster, job_with: JobWith) -> None:
    config = {**CONFIG, "attention_head_dim": 4}
    sd = {"preset": "stable-diffusion-v1"}
    latent = {"vae": {"uri": "s3://t2i/models/vae"}, "textEncoder": {"uri": "s3://t2i/models/clip"}, "unet": sd}
    weights = {"uri": "s3://t2i/emoji/archive/20251214T221758Z-custom-unet/checkpoint-5000"}
    for changes in (
        {},
        {"spec.model.unet": {"config": config}},
        {"spec.model": latent, "spec.data.resolution": 512},
        {"spec.model.initialWeights": weights},
        {"spec.model.initialWeights": {"uri": "s3://t2i/emoji", "endpoint": "https://s3.example"}},
        {
            "spec.model.textEncoder.uri": "hf://openai/clip-vit-large-patch14@main",
            "spec.diffusion": {"minSnrGamma": 5, "offsetNoise": 0.1},
            "spec.training.microBatchSize": 8,
            "spec.training.compile": "WholeGraph",
            "spec.training.ema": {"powerWidths": [0.05, 0.1], "everySteps": 8},
            "spec.training.trackers": ["TensorBoard", "WandB"],
            "spec.evaluation": {"everySteps": 10},
            "spec.expectations": {
                "preset": "FromScratchBands",
                "bands": [{"fromStep": 1, "toStep": 9, "lossAtMost": 1}],
            },
        },
        {"spec.diffusion": {"zeroTerminalSnr": True}},
        {
            "spec.data.uri": "file:///claims/pictures/train",
            "spec.model.textEncoder.uri": "file:///claims/models",
            "spec.workers.template": {"sourceClaims": ["pictures", "models"], "cacheClaim": "cache"},
        },
        {"spec.training.parallelism": "FullShard", "spec.training.compile": "Eager"},
        {"spec.checkpoint.onIncompatible": "WarmStart", "spec.checkpoint.archive": {"method": "Reference"}},
    ):
        api_server.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(job_with(changes)))


def test_a_running_job_may_train_longer_and_be_suspended(api_server: LocalCluster, job_with: JobWith) -> None:
    api_server.kubectl("apply", "-f", "-", stdin=json.dumps(job_with({"metadata.name": "grown"})))
    grown = job_with({"metadata.name": "grown", "spec.training.steps": 200, "spec.suspend": True})
    api_server.kubectl("apply", "-f", "-", stdin=json.dumps(grown))
    assert api_server.kubectl("get", "dtj", "grown", "-o", "jsonpath={.spec.training.steps}").strip() == "200"


def test_where_weights_come_from_may_be_mended(api_server: LocalCluster, job_with: JobWith) -> None:
    # A job that waits because of a wrong URI must not have to be created anew.
    for uri in ("s3://t2i/wrong", "s3://t2i/right"):
        document = job_with({"metadata.name": "mended", "spec.model.initialWeights": {"uri": uri}})
        api_server.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    path = "jsonpath={.spec.model.initialWeights.uri}"
    assert api_server.kubectl("get", "dtj", "mended", "-o", path).strip() == "s3://t2i/right"


def test_explain_is_the_manual(api_server: LocalCluster) -> None:
    text = " ".join(api_server.kubectl("explain", "dtj.spec.checkpoint").split())
    for words in ("Prefix that this job owns", "Default 1000", "Example: 5000", "enum: Archive, Fail, WarmStart"):
        assert words in text
