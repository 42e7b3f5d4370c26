"""One training state on a real S3 server, and two ways to save it: ours, and Accelerate's with an upload behind it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import boto3
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import Progress
from t2i_checkpoint.wanted import meaning_from
from t2i_dev.lone_attempt import ALONE
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

NULL = torch.ones(8, 64)
STEP_BATCH = 2


class TwoSavers:
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
        device: Any = self._device.type
        configuration = RunConfiguration(self._job, ALONE, device, scratch / "run")
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
