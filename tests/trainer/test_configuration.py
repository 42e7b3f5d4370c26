"""Job, attempt and environment are checked where they enter, and a mistake is named with its field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from t2i_api.progress import ExitCode
from t2i_checkpoint.store import AccessDenied
from t2i_trainer.configuration import RunConfiguration, choose_device, open_weights, read_job
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from t2i_api.job import JobSpec
    from t2i_dev.s3_server import S3Server

ATTEMPT = {
    "jobName": "tiny",
    "jobNamespace": "default",
    "jobUid": "0123abcd",
    "attempt": 1,
    "workers": 1,
    "processesPerWorker": 2,
    "rendezvousAddress": "tiny-1-0.tiny-1",
}


def read(
    folder: Path, spec: JobSpec, attempt: Any = ATTEMPT, changes: dict[str, Any] | None = None
) -> RunConfiguration:
    document = {
        "apiVersion": "training.t2i.dev/v1alpha1",
        "kind": "DiffusionTrainingJob",
        "metadata": {"name": "tiny"},
        "spec": {**spec.to_wire(), **(changes or {})},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    (folder / "attempt.json").write_text(json.dumps(attempt))
    return RunConfiguration.read(folder / "job.yaml", folder / "attempt.json", folder)


def test_what_the_operator_mounts_is_read_back(tmp_path: Path, job_spec: JobSpec) -> None:
    configuration = read(tmp_path, job_spec)
    assert configuration.spec == job_spec
    assert configuration.attempt.world_size == 2
    assert configuration.attempt.resume_from is None
    assert configuration.device == "cpu"


@pytest.mark.parametrize(
    ("attempt", "changes", "message"),
    [
        ({**ATTEMPT, "workers": 0}, {}, r"attempt\.json: workers"),
        ({**ATTEMPT, "resumeFrm": "x"}, {}, "resumeFrm"),
        ({**ATTEMPT, "processesPerWorker": 3}, {}, "globalBatchSize 4 is no multiple of the world size 3"),
        (ATTEMPT, {"traning": {}}, r"job\.yaml: spec\.traning"),
    ],
    ids=["value", "unknown-field", "batch-does-not-divide", "job-field"],
)
def test_a_mistake_is_named(tmp_path: Path, job_spec: JobSpec, attempt: Any, changes: Any, message: str) -> None:
    with pytest.raises(TrainerError, match=message) as caught:
        read(tmp_path, job_spec, attempt, changes)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


OWN_KEY, OWN_SECRET = "T2I_INITIAL_WEIGHTS_AWS_ACCESS_KEY_ID", "T2I_INITIAL_WEIGHTS_AWS_SECRET_ACCESS_KEY"


def test_initial_weights_are_read_with_credentials_of_their_own(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod's own AWS_* belong to the checkpoints; another bucket may need another Secret."""
    real = s3_server.environment()
    uri = f"s3://{s3_server.bucket}/initial-weights-of-others"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-checkpoints")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-checkpoints")
    with pytest.raises(AccessDenied):
        list(open_weights(uri, s3_server.endpoint, None).store.list(""))
    monkeypatch.setenv(OWN_KEY, real["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv(OWN_SECRET, real["AWS_SECRET_ACCESS_KEY"])
    assert list(open_weights(uri, s3_server.endpoint, None).store.list("")) == []


@pytest.mark.parametrize(("given", "missing"), [(OWN_KEY, OWN_SECRET), (OWN_SECRET, OWN_KEY)])
def test_half_a_key_pair_is_refused(monkeypatch: pytest.MonkeyPatch, given: str, missing: str) -> None:
    monkeypatch.setenv(given, "x")
    with pytest.raises(TrainerError, match=f"{missing} is missing"):
        open_weights("s3://bucket/weights", None, None)


@pytest.mark.parametrize(
    ("gpus", "wish", "device"),
    [(0, None, "cpu"), (1, None, "cuda"), (1, "auto", "cuda"), (1, "cpu", "cpu"), (0, "cuda", "cuda")],
)
def test_gpus_are_used_exactly_when_asked_for(
    job_spec: JobSpec, monkeypatch: pytest.MonkeyPatch, gpus: int, wish: str | None, device: str
) -> None:
    monkeypatch.delenv("T2I_DEVICE", raising=False)
    if wish is not None:
        monkeypatch.setenv("T2I_DEVICE", wish)
    workers = job_spec.workers.model_copy(update={"gpus_per_worker": gpus})
    assert choose_device(job_spec.model_copy(update={"workers": workers})) == device


def test_another_device_is_refused(job_spec: JobSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2I_DEVICE", "tpu")
    with pytest.raises(TrainerError, match="T2I_DEVICE is 'tpu': write auto, cpu or cuda"):
        choose_device(job_spec)


@pytest.mark.parametrize(("place", "says_option"), [("/etc/t2i/job.yaml", True), ("nope.yaml", False)])
def test_only_who_named_no_file_is_told_of_the_option(place: str, *, says_option: bool) -> None:
    """From Python and `t2i train` the file is no option of the command."""
    with pytest.raises(TrainerError, match="cannot be read: No such file or directory") as caught:
        read_job(Path(place))
    assert ("--job" in str(caught.value)) is says_option
