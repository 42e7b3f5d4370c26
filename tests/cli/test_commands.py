"""`t2i` says the same as operator and trainer, with exit statuses that scripts can use."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from t2i_cli.main import commands
from t2i_cli.reading import UsageProblem

JOB = """
apiVersion: training.t2i.dev/v1alpha1
kind: DiffusionTrainingJob
metadata: {name: emoji}
spec:
  model: {unet: {preset: tiny}, textEncoder: {uri: s3://t2i/models/minilm}, pixelUnshuffleFactor: 2}
  data: {uri: s3://t2i/data/emoji, resolution: 32}
  training: {steps: 100, globalBatchSize: 32, learningRate: 0.001}
  checkpoint: {uri: URI, everySteps: 10}
"""


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB.replace("URI", f"file://{tmp_path}/run"))
    (tmp_path / "run").mkdir()
    return path


def test_check_shows_what_a_job_asks_for(job_file: Path) -> None:
    result = CliRunner().invoke(commands, ["job", "check", str(job_file)])
    assert result.exit_code == 0
    assert "4.3 M parameters" in result.stdout


def test_a_wrong_field_is_named(job_file: Path) -> None:
    job_file.write_text(job_file.read_text().replace("steps: 100", "steps: 0"))
    result = CliRunner().invoke(commands, ["job", "check", str(job_file)])
    assert isinstance(result.exception, UsageProblem)
    assert "spec.training.steps" in str(result.exception)


def test_an_empty_prefix_is_fine(job_file: Path) -> None:
    result = CliRunner().invoke(commands, ["checkpoint", "verdict", "--job", str(job_file), "-o", "json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_a_prefix_with_nothing_to_resume_is_exit_status_3(job_file: Path) -> None:
    folder = job_file.parent / "run" / "checkpoints" / "checkpoint-00005000"
    folder.mkdir(parents=True)
    (folder / "random_states_0.pkl").write_bytes(b"not read")
    result = CliRunner().invoke(commands, ["checkpoint", "verdict", "--job", str(job_file), "-o", "json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout)[0]["verdict"] == "incomplete"
