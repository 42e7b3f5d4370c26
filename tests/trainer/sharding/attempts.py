"""Attempts of the real trainer, rank by rank; in steps 5 and 6 one picture of the last rank is not a number."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from tests.trainer.sharding.ranks import run_ranks

from t2i_api.attempt import AttemptDocument
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import Manifest, read_manifest
from t2i_dev.planted_faults.planting import wrap
from t2i_dev.ports import free_ports
from t2i_trainer import worker
from t2i_trainer.step import TrainStep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from t2i_trainer.data.feed import Batch

UID = "0123abcd-0000"
SPOILT = (5, 6)


@dataclass(frozen=True)
class Run:
    """A folder that holds a bucket, and the attempts that wrote it."""

    folder: Path

    @property
    def bucket(self) -> Path:
        return self.folder / "bucket"

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.bucket)

    def manifest(self, step: int) -> Manifest:
        """The newest committed checkpoint of a step."""
        names = sorted(
            path.parent.name for path in self.bucket.glob(f"checkpoints/step-{step:08d}-*/{layout.MANIFEST}")
        )
        found = read_manifest(self.store, f"{layout.CHECKPOINTS}{names[-1]}")
        assert found is not None
        return found

    def checkpoint(self, step: int) -> Path:
        manifest = self.manifest(step)
        return self.bucket / layout.checkpoint_folder(step, manifest.writer)

    def rows(self) -> dict[int, dict[str, Any]]:
        """The lines of metrics.jsonl by step."""
        rows = [json.loads(line) for line in (self.bucket / layout.METRICS).read_text().splitlines()]
        return {row["step"]: row for row in rows}

    def train(self, spec: Mapping[str, Any], *, attempt: int, size: int, resume_from: str | None = None) -> None:
        """Run an attempt to its end, in `size` processes."""
        own = self.folder / f"attempt-{attempt}"
        own.mkdir(parents=True)
        port, metrics_port = free_ports(2)
        document = {
            "metadata": {"name": "shared", "namespace": "default", "uid": UID},
            "spec": {**spec, "checkpoint": {**spec["checkpoint"], "uri": f"file://{self.bucket}"}},
        }
        (own / "job.yaml").write_text(yaml.safe_dump(document))
        given = AttemptDocument(
            job_name="shared",
            job_namespace="default",
            job_uid=UID,
            attempt=attempt,
            workers=1,
            processes_per_worker=size,
            resume_from=resume_from,
            rendezvous_address="127.0.0.1",
            rendezvous_port=port,
            metrics_port=metrics_port,
        )
        (own / "attempt.json").write_text(given.model_dump_json(by_alias=True))
        run_ranks(work, own, size)

    def branch(self, step: int, folder: Path) -> tuple[Run, str]:
        """Copy the bucket as it was after `step` to `folder`; returns it and the checkpoint's name."""
        name = self.checkpoint(step).name
        shutil.copytree(self.checkpoint(step), folder / "bucket" / layout.CHECKPOINTS / name)
        lines = (self.bucket / layout.METRICS).read_text().splitlines(keepends=True)
        (folder / "bucket" / layout.METRICS).write_text("".join(lines[:step]))
        return Run(folder), name


def work(folder: Path) -> None:
    """Be one rank of the attempt in `folder`."""
    wrap(setattr, TrainStep, "take", _spoiling)
    sys.argv = ["worker", "--job", str(folder / "job.yaml"), "--attempt", str(folder / "attempt.json")]
    sys.argv += ["--run-directory", str(folder / "run"), "--address", "127.0.0.1"]
    worker.main()


def _spoiling(take: Callable[..., None]) -> Callable[..., None]:
    def spoilt(self: Any, batch: Batch, loss_limit: float) -> None:
        if self.state.step + 1 in SPOILT and self._world.rank == self._world.size - 1:
            batch = replace(batch, latents=batch.latents * torch.nan)
        take(self, batch, loss_limit)

    return spoilt
