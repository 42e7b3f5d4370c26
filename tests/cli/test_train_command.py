"""`t2i train` before anything is trained: what it would begin with, what it refuses at once, what it archives first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from t2i_api.progress import ExitCode, Progress, TrainerPhase
from t2i_cli.training_bar import clock_text, measures_text, training_bar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Place

OLD = "checkpoints/checkpoint-00005000"


def changed(place: Place, path: str, value: object) -> Path:
    """Write the job anew with one field of the spec changed."""
    document = yaml.safe_load(place.job_file.read_text())
    *groups, name = path.split(".")
    parent = document["spec"]
    for group in groups:
        parent = parent.setdefault(group, {})
    parent[name] = value
    place.job_file.write_text(yaml.safe_dump(document))
    return place.job_file


@pytest.fixture
def cpu_place(directory_place: Place) -> Place:
    changed(directory_place, "workers", {"count": 1, "gpusPerWorker": 0})
    return directory_place


def test_the_plan_says_what_the_run_would_begin_with_and_changes_nothing(cpu_place: Place) -> None:
    empty = cpu_place.run("train", cpu_place.job_file, "--dry-run")
    assert (empty.status, "training begins at step 0" in empty.output) == (0, True)
    cpu_place.put_fitting("checkpoint-7")
    cpu_place.put_old()
    before = cpu_place.contents()
    plan = cpu_place.run("train", cpu_place.job_file, "--dry-run", "-o", "json")
    assert (plan.status, plan.document["begins"], OLD in plan.document["message"]) == (0, "Archive", True)
    assert cpu_place.contents() == before


@pytest.mark.exhaustive
def test_what_cannot_fit_is_archived_only_where_somebody_says_so(cpu_place: Place) -> None:
    cpu_place.put_old()
    before = cpu_place.contents()
    asked = cpu_place.run("train", cpu_place.job_file)
    assert (asked.status, "--yes" in asked.errors, cpu_place.contents()) == (3, True, before)
    # The job's text encoder is not there, so that the run ends soon, and says so.
    ran = cpu_place.run("train", cpu_place.job_file, "--yes", "-o", "json")
    assert ran.status in {ExitCode.BAD_CONFIGURATION, ExitCode.STORAGE_UNAVAILABLE, ExitCode.DATA_INVALID}
    assert not [key for key in cpu_place.contents() if key.startswith(f"{OLD}/")]
    assert [key for key in cpu_place.contents() if key.startswith("archive/") and key.endswith("model.safetensors")]
    assert '"reason"' in ran.output


def test_what_a_person_has_to_decide_is_refused_with_the_way_out(cpu_place: Place) -> None:
    cpu_place.put("checkpoint-7", {"model.safetensors": b"\xff" * 64})
    before = cpu_place.contents()
    for arguments in ((), ("--dry-run",)):
        ran = cpu_place.run("train", cpu_place.job_file, *arguments)
        assert (ran.status, "checkpoint-7" in ran.output + ran.errors, cpu_place.contents()) == (3, True, before)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (("workers", {"count": 1, "gpusPerWorker": 1}), (), "--device cpu"),
        (("training.globalBatchSize", 4), ("--processes", "3"), "change --processes"),
        (("training.steps", 0), (), "training.steps"),
    ],
)
def test_mistakes_are_said_before_torch_is_loaded(
    cpu_place: Place,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, object],
    options: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.setattr("t2i_cli.train_command._GPU_FILES", ())
    ran = cpu_place.run("train", changed(cpu_place, *change), *options)
    assert (ran.status, words in ran.errors) == (2, True)


def test_a_file_is_no_place_for_checkpoints(cpu_place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    changed(cpu_place, "checkpoint.uri", (tmp_path / "file").as_uri())
    ran = cpu_place.run("train", cpu_place.job_file, "--dry-run")
    assert (ran.status, "is a single file: name the folder" in ran.errors) == (2, True)


def test_the_trainers_packages_may_be_missing(cpu_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    ran = cpu_place.run("train", cpu_place.job_file)
    assert (ran.status, "pip install 't2i-operator[cli,trainer]'" in ran.errors) == (2, True)


def report_at(step: int, resumed_from_step: int | None = None) -> Progress:
    return Progress.model_validate(
        {
            "attempt": 1,
            "worldSize": 1,
            "targetSteps": 9,
            "phase": TrainerPhase.TRAINING,
            "updatedAt": "2026-01-01T00:00Z",
            "step": step,
            "resumedFromStep": resumed_from_step,
        }
    )


@pytest.mark.parametrize(
    ("report", "saves"),
    [(None, False), (report_at(0), False), (report_at(5, 5), False), (report_at(6, 5), True), (report_at(1), True)],
)
def test_ctrl_c_promises_a_save_only_where_there_is_something_to_save(
    report: Progress | None, *, saves: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with training_bar(9) as bar:
        if report is not None:
            bar.show(report)
        bar.stopping()
    said = capsys.readouterr().err
    assert ("saving a checkpoint, then stopping" in said, "if a step has been taken" in said) == (saves, not saves)


def test_the_bar_shows_what_is_known() -> None:
    report = report_at(0)
    assert measures_text(report) == ""
    known = report.model_copy(
        update={"loss": 0.5, "loss_smoothed": 0.25, "images_per_second": 3.14, "eta_seconds": 187}
    )
    assert measures_text(known) == "loss 0.2500, 3.1 images/s, 3:07 left"
    assert [clock_text(seconds) for seconds in (9, 3607, 90_061)] == ["0:09", "1:00:07", "1 d 1:01:01"]
