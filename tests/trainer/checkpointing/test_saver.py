"""Training goes on while another process saves; whatever happens to that one is the run's error, never a gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from tests.trainer.checkpointing.conftest import hand_over, saving_job

from t2i_api.progress import ExitCode, Progress
from t2i_checkpoint import layout
from t2i_checkpoint.ema_snapshots import stored_profiles
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import read_manifest
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.checkpointing.saver import Saver
from t2i_trainer.checkpointing.state import weights_sha256
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.failures import TrainerError
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.trainer.checkpointing.conftest import Bench

    from t2i_checkpoint.manifest import Manifest

UPLOADER = "t2i_trainer.checkpointing.uploader"


@dataclass
class Run:
    """A run of one process that saves as the training loop does."""

    bench: Bench
    saver: Saver
    telemetry: Telemetry

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.bench.scratch / "bucket")

    def save(self, step: int) -> None:
        self.bench.state.step = step
        hand_over(self.saver, self.bench.spec, self.bench.state)

    def committed(self, step: int) -> Manifest | None:
        return read_manifest(self.store, self.bench.folder(step))

    @property
    def uploader(self) -> psutil.Process:
        # Other tests of this process may have servers of their own, or have left one that is still to be waited for.
        living = (each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE)
        (child,) = (each for each in living if UPLOADER in each.cmdline())
        return child

    def metric(self, name: str) -> float:
        families = text_string_to_metric_families(self.telemetry.exposition().decode())
        return next(sample.value for family in families for sample in family.samples if sample.name == name)


@pytest.fixture
def retain() -> int:
    """Checkpoints that are kept, unless a test says otherwise."""
    return 2


@pytest.fixture
def run(bench: Bench, retain: int) -> Iterator[Run]:
    job = saving_job(bench.spec, bench.store.uri, retain)
    configuration = RunConfiguration(job, ALONE, "cpu", bench.scratch / "run")
    accelerator: Any = None
    world = World(accelerator, 0, 0, 1, torch.device("cpu"))
    telemetry = Telemetry(Progress(attempt=1, world_size=1, target_steps=9, updated_at=datetime.now(UTC)), 4)
    with Saver(configuration, world, telemetry) as saver:
        yield Run(bench, saver, telemetry)


def test_what_is_saved_is_the_step_of_the_save_and_old_ones_are_retired(run: Run) -> None:
    manifests = []
    for step in (1, 2, 3):
        run.save(step)
        expected = weights_sha256(run.bench.state.unet)
        for parameter in run.bench.state.unet.parameters():  # training goes on
            parameter.data.add_(1.0)
        run.saver.settle()
        assert run.telemetry.progress.last_checkpoint_step == step
        manifest = run.committed(step)
        assert manifest is not None
        assert manifest.ranks[0].weights_sha256 == expected
        manifests.append(manifest)
    assert run.committed(1) is None
    assert run.committed(2) is not None
    run.bench.fetch(step=3)
    restored = run.bench.fresh(seed=1)
    run.bench.load(restored)
    assert weights_sha256(restored.unet) == expected
    assert run.store.read(layout.METRICS) == b"rows\n"
    assert run.metric("t2i_trainer_checkpoint_blocked_seconds_count") == 6  # the saves, and the waits for them
    assert run.metric("t2i_trainer_checkpoint_upload_seconds_count") == 3
    assert run.metric("t2i_trainer_checkpoint_bytes_total") == sum(
        file.size for manifest in manifests for file in manifest.files
    )


@pytest.mark.parametrize("retain", [1])
def test_averages_outlive_their_checkpoints(run: Run, retain: int) -> None:
    """What `t2i ema reconstruct` makes a width of is every step's, though one checkpoint alone is kept."""
    run.bench.state.ema = ExponentialMovingAverage(run.bench.state.unet, 0.9, power_widths=[0.05, 0.1])
    for step in (1, 2, 3):
        run.save(step)
        run.saver.settle()
    assert [step for step in (1, 2, 3) if run.committed(step)] == [3][-retain:]
    found = [(each.step, each.width) for each in stored_profiles(run.store)]
    assert found == [(step, width) for step in (1, 2, 3) for width in (0.05, 0.1)]


def test_the_uploading_process_is_small_and_knows_no_torch(run: Run) -> None:
    run.save(1)
    run.saver.settle()
    loaded = {row.path for row in run.uploader.memory_maps()}
    assert not [path for path in loaded if "/torch/" in path]
    assert run.uploader.memory_info().rss < 150 * 2**20


def test_a_killed_uploading_process_is_an_error_and_the_checkpoint_before_stays(run: Run) -> None:
    run.save(1)
    run.saver.settle()
    os.kill(run.uploader.pid, signal.SIGSTOP)
    run.save(2)  # nobody takes it
    os.kill(run.uploader.pid, signal.SIGKILL)
    with pytest.raises(TrainerError, match=r"step 2 was not saved: .*killed by SIGKILL") as failed:
        run.saver.settle()
    assert failed.value.code is ExitCode.CRASHED
    assert run.committed(1) is not None
    assert run.committed(2) is None
    assert run.metric("t2i_trainer_checkpoint_failures_total") == 1


def test_a_step_after_a_failed_upload_says_so(run: Run) -> None:
    run.save(1)
    run.saver.settle()
    os.kill(run.uploader.pid, signal.SIGKILL)
    run.save(2)
    with pytest.raises(TrainerError, match="not saved"):
        steps_until_it_is_known(run)


def steps_until_it_is_known(run: Run) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run.saver.look()
        time.sleep(0.01)


def test_a_store_that_refuses_is_named_with_its_exit_status(run: Run) -> None:
    (run.bench.scratch / "bucket").write_text("a file where the directory should be")
    run.save(1)
    with pytest.raises(TrainerError, match="step 1 was not saved: ") as failed:
        run.saver.settle()
    assert failed.value.code in {ExitCode.BAD_CONFIGURATION, ExitCode.STORAGE_UNAVAILABLE}


def test_leaving_a_run_in_an_error_waits_for_the_save_in_flight(run: Run) -> None:
    run.save(1)
    run.saver.__exit__(None, None, None)
    assert run.committed(1) is not None


ORPHAN = """
import os, subprocess, sys, time
command = [sys.executable, "-m", "t2i_trainer.checkpointing.uploader", "--uri", sys.argv[1]]
command += ["--parent", str(os.getpid())]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_when_the_trainer_is_killed_the_uploading_process_is_gone_with_it(tmp_path: Path) -> None:
    """A newer attempt may be at work a moment later; nothing of this one may still retire or overwrite anything."""
    command = [sys.executable, "-c", ORPHAN, f"file://{tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        uploader = psutil.Process(int(trainer.stdout.readline()))
        assert uploader.is_running()
        trainer.kill()
        uploader.wait(60)
    assert not uploader.is_running()
