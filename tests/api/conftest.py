"""The custom resource installed on the real API server, and a job that is right in every field."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from t2i_dev.cluster import LocalCluster

VALID: dict[str, Any] = {
    "apiVersion": "training.t2i.dev/v1alpha1",
    "kind": "DiffusionTrainingJob",
    "metadata": {"name": "emoji", "namespace": "default"},
    "spec": {
        "model": {
            "unet": {"preset": "tiny"},
            "textEncoder": {"uri": "s3://t2i/models/all-minilm-l6-v2", "maxTokens": 16},
            "pixelUnshuffleFactor": 2,
        },
        "data": {"uri": "s3://t2i/data/emoji", "resolution": 32},
        "training": {"steps": 100, "globalBatchSize": 32, "learningRate": 0.001, "warmupSteps": 10},
        "sampling": {"prompts": ["red heart on a white background"], "everySteps": 50},
        "checkpoint": {"uri": "s3://t2i/emoji", "endpoint": "http://127.0.0.1:9000", "everySteps": 10},
        "workers": {"count": 2, "gpusPerWorker": 1},
    },
}


CONFIG = {
    "in_channels": 12,
    "out_channels": 12,
    "sample_size": 16,
    "block_out_channels": [32, 64],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "cross_attention_dim": 384,
    "attention_head_dim": [4, 4],
    "norm_num_groups": 8,
}


def changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with each dotted path set; a value of None removes the field."""
    result = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return result


@pytest.fixture
def job_with() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Build the valid job with some fields changed."""
    return lambda changes: changed(VALID, changes)


@pytest.fixture(scope="session")
def api_server(crd: LocalCluster) -> LocalCluster:
    """The API server with our CRD established."""
    return crd
