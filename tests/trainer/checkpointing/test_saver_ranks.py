"""What ranks know of a save that rank 0's process made, or could not make."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from accelerate import Accelerator
from tests.trainer.checkpointing.conftest import fresh_state, hand_over, saving_job
from tests.trainer.sharding.ranks import run_ranks

from t2i_api.job import JobSpec
from t2i_api.progress import Progress
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.checkpointing.saver import Saver
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.failures import TrainerError
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.world import World

if TYPE_CHECKING:
    from pathlib import Path

RANKS = 2


def test_no_rank_names_a_checkpoint_that_was_not_committed(job_spec: JobSpec, tmp_path: Path) -> None:
    """A pod's last words tell the furthest checkpoint that any of its ranks knows."""
    (tmp_path / "spec.json").write_text(job_spec.model_dump_json(by_alias=True))
    run_ranks(save_twice, tmp_path, RANKS)
    said = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(RANKS)]
    assert said == [{"failed": True, "known": 1}, {"failed": False, "known": 1}]


def save_twice(folder: Path) -> None:
    """Be one rank: a save that is committed, and one whose store has become unusable."""
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    world = World(accelerator, rank, rank, accelerator.num_processes, torch.device("cpu"))
    spec = JobSpec.model_validate_json((folder / "spec.json").read_text())
    job = saving_job(spec, f"file://{folder}/bucket")
    telemetry = Telemetry(Progress(attempt=1, world_size=RANKS, target_steps=9, updated_at=datetime.now(UTC)), 4)
    failed = False
    with Saver(RunConfiguration(job, ALONE, "cpu", folder / str(rank)), world, telemetry) as saver:
        save(saver, job.spec, 1, rank)
        saver.settle()
        if world.leads:
            checkpoints = folder / "bucket" / "checkpoints"
            checkpoints.rename(folder / "away")
            checkpoints.write_text("no folder")
        world.wait()
        save(saver, job.spec, 2, rank)
        try:
            saver.settle()
        except TrainerError:
            failed = True
    known = telemetry.progress.last_checkpoint_step
    (folder / f"{rank}.json").write_text(json.dumps({"failed": failed, "known": known}))
    dist.destroy_process_group()


def save(saver: Saver, spec: JobSpec, step: int, rank: int) -> None:
    state = fresh_state(spec)
    state.step = step
    hand_over(saver, spec, state, noise=f"{rank:064x}")
