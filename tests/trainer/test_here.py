"""A run on this machine, as people start it: seen on a terminal, stopped by Ctrl-C with a checkpoint, and resumable."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.open import open_store
from t2i_checkpoint.wanted import wanted_from
from t2i_trainer.here import TrainingFailedError, train_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.store import Store

SECONDS = 300


@pytest.fixture
def long_job(
    job_spec: JobSpec, tmp_path: Path, text_encoder_folder: Path, write_dataset: Callable[[Store], None]
) -> DiffusionTrainingJob:
    """The job of a run that nobody waits for to end, with its pictures."""
    (tmp_path / "encoder").symlink_to(text_encoder_folder)
    (tmp_path / "data").mkdir()
    (tmp_path / "bucket").mkdir()
    write_dataset(open_store(f"file://{tmp_path}/data"))
    spec = job_spec.to_wire()
    spec["training"]["steps"] = 100_000
    spec["checkpoint"]["everySteps"] = 100_000
    return DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=JobSpec.model_validate(spec))


def written(job: DiffusionTrainingJob, folder: Path) -> Path:
    document = {"metadata": {"name": job.metadata.name}, "spec": job.spec.to_wire()}
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_ctrl_c_on_a_terminal_saves_a_checkpoint_that_the_same_command_resumes(
    long_job: DiffusionTrainingJob, tmp_path: Path
) -> None:
    program, job_file = str(Path(sys.executable).with_name("t2i")), str(written(long_job, tmp_path))
    # Tests that run in the background ignore Ctrl-C, and so would the program.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent, child = pty.openpty()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [program, "train", job_file],
        stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    shown, asked, deadline = "", False, time.monotonic() + SECONDS
    while True:
        assert time.monotonic() < deadline, shown
        try:
            block = os.read(parent, 65536)
        except OSError:  # the other end is closed: the process has ended
            break
        shown += block.decode(errors="replace")
        if not asked and re.search(r"[1-9]\d*/100000\S* loss \d+\.\d{4}, [\d.]+ images/s, .* left", shown):
            asked = True
            process.send_signal(2)
    os.close(parent)
    assert process.wait() == ExitCode.INTERRUPTED, shown
    assert "shapes: training begins at step 0" in shown
    assert "saving a checkpoint, then stopping" in shown
    found = survey(open_store(long_job.spec.checkpoint.uri), wanted_from(long_job.spec))
    assert found.resumable is not None
    assert found.resumable.step > 0

    plan = subprocess.run([program, "train", job_file, "--dry-run", "-o", "json"], capture_output=True, check=True)
    begins = json.loads(plan.stdout)
    assert (begins["begins"], begins["step"]) == ("Resume", found.resumable.step)


def test_what_the_trainer_refuses_is_an_exception_with_its_words(long_job: DiffusionTrainingJob) -> None:
    lines: list[str] = []
    with pytest.raises(TrainingFailedError, match="multiple of the world size 3") as failed:
        train_here(long_job, processes=3, on_log=lines.append)
    assert failed.value.ended.exit_code is ExitCode.BAD_CONFIGURATION
    assert any("multiple" in line for line in lines)


def test_importing_it_costs_no_torch_and_no_arrow() -> None:
    heavy = {"torch", "diffusers", "kopf", "pyarrow"}
    code = f"import sys, t2i_trainer.here, t2i_cli.main; print({heavy!r} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
