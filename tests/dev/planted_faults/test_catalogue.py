"""Every kind of mistake that the gate knows is planted, and some are planted here: the run names them in all places.

`t2i-dev planted-faults` (minutes) plants them all into runs of 200 steps and lets healthy ones run beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from t2i_api.findings import FindingName
from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import Progress
from t2i_dev import captioned_set
from t2i_dev.lone_attempt import ALONE
from t2i_dev.planted_faults.catalogue import FAULTS, HEALTHY, PlantedFault
from t2i_dev.planted_faults.job import Setting, job_at
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.interruption import Interruption
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.train import train
from t2i_trainer.world import World

# Found by the first close looks at batch and weights.
SAMPLE = ("double VAE scaling", "frozen weights", "cosine with epsilon")
STEPS = 11
# What needs spikes after step 200, or bands of the job's own, is no fault of the first 200 steps.
NOT_PLANTED = {FindingName.LOSS_SPIKE, FindingName.NO_EARLIER_CHECKPOINT, FindingName.OUTSIDE_EXPECTATIONS}


def test_every_finding_is_what_some_fault_is_named_by() -> None:
    assert {fault.finding for fault in FAULTS} == set(FindingName) - NOT_PLANTED
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({run.setting.seed for run in HEALTHY}) == 5


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    captioned_set.write_pictures(folder / "data")
    captioned_set.write_text_encoder(folder / "encoder")
    return folder


@pytest.fixture
def run(shared: Path, tmp_path: Path) -> Callable[[], Telemetry]:
    """Train the planted faults' job for a few steps in this process."""

    def start() -> Telemetry:
        small = Setting(changes={"training": {"globalBatchSize": 8, "warmupSteps": 5}})
        job = DiffusionTrainingJob.from_object(job_at(shared, tmp_path / "bucket", small, steps=STEPS))
        world = World(Accelerator(cpu=True), rank=0, local_rank=0, size=1, device=torch.device("cpu"))
        progress = Progress(attempt=1, world_size=1, target_steps=STEPS, updated_at=datetime.now(UTC))
        telemetry = Telemetry(progress, 8)
        train(RunConfiguration(job, ALONE, "cpu", tmp_path), world, telemetry, Interruption())
        return telemetry

    return start


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in SAMPLE], ids=lambda fault: fault.name)
def test_a_planted_fault_is_named_in_log_metrics_and_progress(
    fault: PlantedFault,
    run: Callable[[], Telemetry],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault.plant(monkeypatch.setattr)
    with caplog.at_level(logging.WARNING, "t2i_trainer"):
        telemetry = run()
    (finding,) = telemetry.progress.findings
    assert finding.name == fault.finding
    assert f'findings_total{{finding="{fault.finding}",severity="Error"}} 1.0' in telemetry.exposition().decode()
    assert f"step {finding.step}: {fault.finding}: {finding.sentence}" in caplog.text


def test_a_run_without_a_fault_says_nothing(run: Callable[[], Telemetry]) -> None:
    assert run().progress.findings == []
