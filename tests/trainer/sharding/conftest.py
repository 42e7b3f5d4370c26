"""Two processes that compare both ways of holding a model, and whole runs of both; told once, read by the tests."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.trainer.conftest import UNET
from tests.trainer.sharding import laboratory
from tests.trainer.sharding.attempts import Run
from tests.trainer.sharding.ranks import run_ranks

from t2i_api.job import JobSpec
from t2i_api.spec_training import Parallelism, Precision
from t2i_checkpoint.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_checkpoint.store import Store


@dataclass(frozen=True)
class Found:
    """What each rank found (see `laboratory.Findings`)."""

    precision: Precision
    ranks: tuple[dict[str, Any], ...]


# Every tensor is gathered several times.
FEW_BLOCKS = {
    "block_out_channels": [8],
    "down_block_types": ["CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D"],
}


# Of three output channels a fourth rank gets none.
WORLDS = [
    (2, 12, Precision.FP32),
    pytest.param((4, 3, Precision.FP32), marks=pytest.mark.exhaustive),
    pytest.param((2, 12, Precision.BF16), marks=pytest.mark.exhaustive),
]


@pytest.fixture(scope="session", params=WORLDS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Let ranks compare a model held whole with one that they share."""
    size, channels, precision = request.param
    folder = tmp_path_factory.mktemp("sharding")
    spec = _spec(size * laboratory.SHARE, channels, **FEW_BLOCKS)
    training = spec.training.model_copy(update={"precision": precision})
    spec = spec.model_copy(update={"training": training})
    (folder / "spec.json").write_text(spec.model_dump_json(by_alias=True))
    run_ranks(laboratory.work, folder, size)
    return Found(precision, tuple(json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)))


def _spec(batch: int, channels: int = 12, **blocks: Any) -> JobSpec:
    """A job whose steps have two passes each, are clipped, and are averaged in two ways."""
    return JobSpec.model_validate(
        {
            "model": {
                "unet": {"config": {**UNET, **blocks, "in_channels": channels, "out_channels": channels}},
                "textEncoder": {"uri": "file:///nowhere", "maxTokens": 8},
                "pixelUnshuffleFactor": math.isqrt(channels // 3),
            },
            "data": {"uri": "file:///nowhere", "resolution": 8 * math.isqrt(channels // 3)},
            "training": {
                "steps": 12,
                "globalBatchSize": batch,
                "microBatchSize": 1,
                "learningRate": 0.002,
                "gradientClip": 0.3,
                "ema": {"decay": 0.9, "powerWidths": [0.1]},
            },
            "sampling": {"guidanceScale": 1.5, "inferenceSteps": 3},
            "checkpoint": {"uri": "file:///nowhere"},
            "workers": {"gpusPerWorker": 0},
        }
    )


@dataclass(frozen=True)
class Runs:
    """One job trained by two processes, once sharing the model and once each with all of it."""

    job: Callable[..., dict[str, Any]]
    sharded: Run
    whole: Run


@pytest.fixture(scope="session")
def runs(
    tmp_path_factory: pytest.TempPathFactory, text_encoder_folder: Path, write_dataset: Callable[[Store], None]
) -> Runs:
    """Train both to their end: a bad picture, a going back, evaluation, odd prompts, saves, the finished model."""
    folder = tmp_path_factory.mktemp("runs")
    write_dataset(LocalStore(folder / "data"))

    def job(parallelism: Parallelism) -> dict[str, Any]:
        document: dict[str, Any] = _spec(6).to_wire()
        document["data"]["uri"] = f"file://{folder}/data"
        document["model"]["textEncoder"]["uri"] = f"file://{text_encoder_folder}"
        document["training"]["parallelism"] = parallelism.value
        document["sampling"]["prompts"] = ["a red circle on white", "a blue square on white", "a green circle on white"]
        document["evaluation"] = {"everySteps": 4, "images": 3}  # one rank has two
        document["failurePolicy"] = {"maxSkippedSteps": 1}
        document["checkpoint"] |= {"everySteps": 3, "retain": 100}
        return document

    sharded, whole = Run(folder / "sharded"), Run(folder / "whole")
    sharded.train(job(Parallelism.FULL_SHARD), attempt=1, size=2)
    whole.train(job(Parallelism.DATA_PARALLEL), attempt=1, size=2)
    return Runs(job, sharded, whole)
