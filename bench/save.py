"""For how long training stands still for a save: ours against `accelerate.save_state` and an upload of the same state.

Weights, EMA and AdamW's moments of one UNet, the same objects for both, in turn over a real S3 server on loopback. The
baseline blocks until its last file is uploaded; ours until the snapshot is taken, and the time until its commit is told
beside. Then training steps are timed with and without an upload under way. Run `python bench/save.py [--json]`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from t2i_api.attempt import AttemptDocument
from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import Progress
from t2i_checkpoint.wanted import meaning_from
from t2i_dev.s3_server import REGION, S3Server
from t2i_trainer.checkpointing.save import RunFacts
from t2i_trainer.checkpointing.saver import Saver
from t2i_trainer.checkpointing.state import TrainingState, tensor_files
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.model import build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.text_encoder import embedding_sha256
from t2i_trainer.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024**2
NULL = torch.ones(8, 64)
STEP_BATCH = 2


@dataclass(frozen=True)
class Figures:
    """Seconds but for `state_bytes` and the two steps per second; lists in the order of the rounds."""

    state_bytes: int
    ours_first: float
    ours_blocked: list[float]
    ours_until_commit: list[float]
    accelerate_saved: list[float]
    accelerate_uploaded: list[float]
    step_alone: float
    step_during_upload: float

    @property
    def share(self) -> float:
        """Our blocked time as a share of the baseline's, medians."""
        baseline = [a + b for a, b in zip(self.accelerate_saved, self.accelerate_uploaded, strict=True)]
        return statistics.median(self.ours_blocked) / statistics.median(baseline)


class Bench:
    """One state, two ways to save it."""

    def __init__(self, server: S3Server, scratch: Path, width: int) -> None:
        os.environ.update(server.environment())
        self._server = server
        self._scratch = scratch
        self._job = DiffusionTrainingJob.from_object(_job(server, width))
        spec = self._job.spec
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        unet = build_unet(spec, self._device)
        optimizer = build_optimizer(unet, spec.training)
        self._state = TrainingState(unet, ExponentialMovingAverage(unet, 0.9), optimizer)
        self.step()
        self._facts = RunFacts(
            writer="0123abcd-a1",
            seed=0,
            global_batch_size=4,
            dataset_size=10,
            meaning=meaning_from(spec, embedding_sha256(NULL)),
            null_embedding=NULL,
        )
        attempt = AttemptDocument(
            job_name="bench",
            job_namespace="default",
            job_uid="0123abcd-0000",
            attempt=1,
            workers=1,
            processes_per_worker=1,
            rendezvous_address="127.0.0.1",
            rendezvous_port=1,
            metrics_port=1,
        )
        device: Any = self._device.type
        configuration = RunConfiguration(self._job, attempt, device, scratch / "run")
        nobody: Any = None
        telemetry = Telemetry(Progress(attempt=1, world_size=1, target_steps=1, updated_at=datetime.now(UTC)), 4)
        self.saver = Saver(configuration, World(nobody, 0, 0, 1, self._device), telemetry)
        self._accelerator = Accelerator(
            cpu=self._device.type == "cpu", project_config=ProjectConfiguration(str(scratch / "accelerate"))
        )
        # Prepared before, so that save_state knows them; the average is a model of its own, as in Diffusers' scripts.
        self._accelerator.prepare(unet, optimizer)
        self._accelerator.register_for_checkpointing(_Average(self._state))

    @property
    def state_bytes(self) -> int:
        """Bytes of all tensors."""
        files = tensor_files(self._state)
        return sum(tensor.numel() * tensor.element_size() for held in files.values() for tensor in held.values())

    def step(self) -> None:
        """Take one optimizer step on noise."""
        config = self._job.spec.model.unet.resolved
        side = int(self._job.spec.data.resolution)
        shape = (STEP_BATCH, config.in_channels, side, side)
        text = torch.ones(STEP_BATCH, 8, 64, device=self._device)
        model: Any = self._state.unet
        loss = model(torch.randn(shape, device=self._device), 10, encoder_hidden_states=text).sample.square().mean()
        loss.backward()
        self._state.optimizer.step()
        self._state.optimizer.zero_grad(set_to_none=True)
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def ours(self) -> tuple[float, float]:
        """Save; returns the time that training stood still, and the time until the commit."""
        began = time.monotonic()
        self.hand_over()
        blocked = time.monotonic() - began
        self.saver.settle()
        return blocked, time.monotonic() - began

    def hand_over(self) -> None:
        """Save, and go on at once."""
        self._state.step += 1
        batch: Any = _Batch()
        told = TrainerState(step=self._state.step, dataset_size=10, dataset_sha256="ab")
        self.saver.save(state=self._state, batch=batch, trainer_state=told, facts=self._facts, metrics=b"")

    def accelerate(self) -> tuple[float, float]:
        """Save by Accelerate and upload by boto3; returns the time of either."""
        folder = self._scratch / "accelerate" / "checkpoint"
        began = time.monotonic()
        self._accelerator.save_state(str(folder))
        saved = time.monotonic() - began
        client = boto3.client(
            "s3",
            endpoint_url=self._server.endpoint,
            region_name=REGION,
            aws_access_key_id=self._server.access_key,
            aws_secret_access_key=self._server.secret_key,
        )
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            client.upload_file(str(path), self._server.bucket, f"accelerate/{path.relative_to(folder)}")
        return saved, time.monotonic() - began - saved

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.saver.__exit__(None, None, None)


class _Average:
    """What Accelerate saves beside model and optimizer."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state

    def state_dict(self) -> dict[str, torch.Tensor]:
        return dict(self._state.ema.module.state_dict())

    def load_state_dict(self, _held: dict[str, torch.Tensor]) -> None:
        raise NotImplementedError


class _Batch:
    def noise_sha256(self) -> str:
        return "ab" * 32


def _job(server: S3Server, width: int) -> dict[str, Any]:
    unet = {
        "sample_size": 16,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": [width, 2 * width, 4 * width],
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "layers_per_block": 2,
        "cross_attention_dim": 64,
        "attention_head_dim": 8,
    }
    place = f"s3://{server.bucket}"
    return {
        "apiVersion": "training.t2i.dev/v1alpha1",
        "kind": "DiffusionTrainingJob",
        "metadata": {"name": "bench", "namespace": "default", "uid": "0123abcd-0000"},
        "spec": {
            "model": {"unet": {"config": unet}, "textEncoder": {"uri": f"{place}/encoder", "maxTokens": 8}},
            "data": {"uri": f"{place}/data", "resolution": 16},
            "training": {"steps": 10, "globalBatchSize": 4, "learningRate": 0.0001},
            "checkpoint": {"uri": f"{place}/run", "endpoint": server.endpoint, "everySteps": 1, "retain": 1},
            "workers": {"gpusPerWorker": 0},
        },
    }


def pace(step: Callable[[], None], seconds: float, goes_on: Callable[[], bool] = lambda: True) -> float:
    """Return the median time of a step over some seconds, or for as long as something goes on."""
    times: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until and (goes_on() or not times):
        began = time.monotonic()
        step()
        times.append(time.monotonic() - began)
    return statistics.median(times)


def measure(rounds: int, width: int) -> Figures:
    """Alternate both ways to save, then time steps alone and beside an upload."""
    with (
        tempfile.TemporaryDirectory(prefix="t2i-bench-") as folder,
        S3Server.start(Path(folder) / "s3") as server,
        Bench(server, Path(folder), width) as bench,
    ):
        first, _ = bench.ours()
        bench.accelerate()
        ours, accelerate = [], []
        for _ in range(rounds):
            ours.append(bench.ours())
            accelerate.append(bench.accelerate())
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(pace(bench.step, 5))
            bench.hand_over()
            beside.append(pace(bench.step, 60, lambda: not bench.saver.is_idle))
            bench.saver.settle()
        return Figures(
            state_bytes=bench.state_bytes,
            ours_first=first,
            ours_blocked=[blocked for blocked, _ in ours],
            ours_until_commit=[total for _, total in ours],
            accelerate_saved=[saved for saved, _ in accelerate],
            accelerate_uploaded=[uploaded for _, uploaded in accelerate],
            step_alone=statistics.median(alone),
            step_during_upload=statistics.median(beside),
        )


def describe(figures: Figures) -> str:
    """Return the table for people."""
    median = statistics.median
    baseline = median(figures.accelerate_saved) + median(figures.accelerate_uploaded)
    slower = figures.step_during_upload / figures.step_alone - 1
    return "\n".join(
        [
            f"state {figures.state_bytes / MIB:.0f} MiB, medians of {len(figures.ours_blocked)} rounds",
            (
                f"accelerate.save_state + boto3   {baseline:8.3f} s blocked "
                f"({median(figures.accelerate_saved):.3f} s + {median(figures.accelerate_uploaded):.3f} s)"
            ),
            (
                f"t2i                             {median(figures.ours_blocked):8.3f} s blocked, committed after "
                f"{median(figures.ours_until_commit):.3f} s; the first save of a run {figures.ours_first:.3f} s"
            ),
            f"blocked time                    {100 * figures.share:8.1f} % of the baseline's (goal: 5 % or less)",
            (
                f"a training step                 {1000 * figures.step_alone:8.1f} ms alone, "
                f"{1000 * figures.step_during_upload:.1f} ms while uploading: {100 * slower:.0f} % slower"
            ),
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=96, help="of the UNet; 96: 27 M weights, 0.4 GiB of state")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.rounds, options.width)
    if options.json:
        print(json.dumps({**figures.__dict__, "share": figures.share}, indent=1))  # noqa: T201
    else:
        print(describe(figures))  # noqa: T201


if __name__ == "__main__":
    main()
