"""The facts of a run stand in the labels of its info metrics; what it measures is tested in `test_telemetry.py`."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from t2i_api.job import DiffusionTrainingJob, ObjectMetadata
from t2i_api.progress import Progress
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.run_metrics import RunMetrics

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.metrics_core import Metric as MetricFamily

    from t2i_api.job import JobSpec


@pytest.fixture
def described(job_spec: JobSpec, tmp_path: Path) -> dict[str, MetricFamily]:
    """The families of a run of four processes, by name."""
    attempt = ALONE.model_copy(update={"workers": 2, "processes_per_worker": 2})
    job = DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=job_spec)
    progress = Progress(attempt=1, world_size=4, target_steps=12, updated_at=datetime.now(UTC))
    metrics = RunMetrics(progress, 8)
    metrics.describe(RunConfiguration(job, attempt, "cpu", tmp_path))
    text = generate_latest(metrics.registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_what_is_trained_is_said_once(described: dict[str, MetricFamily], job_spec: JobSpec) -> None:
    (sample,) = described["t2i_trainer_run_info"].samples
    assert sample.value == 1
    assert sample.labels == {
        "unet": "custom",
        "schedule": job_spec.diffusion.schedule.value,
        "prediction_type": job_spec.diffusion.prediction_type.value,
        "precision": job_spec.training.precision.value,
        "device": "cpu",
        "world_size": "4",
    }
    (interval,) = described["t2i_trainer_checkpoint_interval_steps"].samples
    assert interval.value == job_spec.checkpoint.every_steps


def test_versions_are_those_that_are_installed(described: dict[str, MetricFamily]) -> None:
    (sample,) = described["t2i_trainer_build_info"].samples
    assert sample.labels == {
        "version": version("t2i-operator"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "diffusers": version("diffusers"),
    }
