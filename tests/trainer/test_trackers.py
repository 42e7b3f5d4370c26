"""Measures reach the trackers in order; a tracker that fails or is slow never touches the training."""

from __future__ import annotations

import importlib.util
import math
import threading
from typing import TYPE_CHECKING, cast

import pytest

from t2i_api.job import DiffusionTrainingJob, JobSpec
from t2i_api.progress import ExitCode
from t2i_api.spec_training import Tracker
from t2i_checkpoint.local import LocalStore
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.errors import TrainerError
from t2i_trainer.step_result import StepResult
from t2i_trainer.trackers import Trackers, check_trackers, open_trackers, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def result(step: int, loss: float = 0.5) -> StepResult:
    return StepResult(
        step=step, loss=loss, gradient_norm=1.0, learning_rate=1e-3, quartile_losses=(0.1, None, 0.3, 0.4)
    )


class Kept:
    """A tracker that keeps what it is sent, and fails where it is told to."""

    name = "kept"

    def __init__(self, fails_at: int | None = None) -> None:
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.finished = False
        self._fails_at = fails_at

    def start(self) -> None:
        if self._fails_at == 0:
            raise ConnectionError("no server")

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        if step == self._fails_at:
            raise ConnectionError("the server went away")
        self.rows.append((step, dict(values)))

    def finish(self) -> None:
        self.finished = True


def test_what_is_not_known_or_not_finite_is_not_sent() -> None:
    values = values_of(result(1, math.nan))
    assert values == {
        "gradient_norm": 1.0,
        "learning_rate": 1e-3,
        "skipped": 0.0,
        "loss_quartile_1": 0.1,
        "loss_quartile_3": 0.3,
        "loss_quartile_4": 0.4,
    }


def test_every_step_is_sent_in_order_and_the_run_is_closed() -> None:
    sink = Kept()
    with Trackers([sink]) as trackers:
        for step in range(1, 50):
            trackers.hear(result(step))
    assert [step for step, _ in sink.rows] == list(range(1, 50))
    assert sink.finished


@pytest.mark.parametrize("fails_at", [0, 3])
def test_a_tracker_that_fails_is_left_alone_and_the_others_go_on(
    fails_at: int, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Kept(fails_at), Kept()
    with Trackers([bad, good]) as trackers:
        for step in range(1, 6):
            trackers.hear(result(step))
    assert [step for step, _ in good.rows] == [1, 2, 3, 4, 5]
    assert len(bad.rows) == max(fails_at - 1, 0)
    assert caplog.text.count("training goes on without it") == 1


def test_a_tracker_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2i_trainer.trackers._SECONDS_TO_FINISH", 0.1)
    release = threading.Event()
    sink = Kept()
    monkeypatch.setattr(sink, "start", release.wait)
    with Trackers([sink]) as trackers:
        for step in range(3000):
            trackers.hear(result(step))
    release.set()


def test_a_missing_package_is_an_error_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(TrainerError, match="WandB, but the package wandb is not installed") as error:
        check_trackers([Tracker.WAND_B])
    assert error.value.code is ExitCode.BAD_CONFIGURATION


def test_tensorboard_files_lie_beside_the_checkpoints(job_spec: JobSpec, tmp_path: Path) -> None:
    spec = job_spec.model_copy(
        update={"training": job_spec.training.model_copy(update={"trackers": [Tracker.TENSOR_BOARD]})}
    )
    job = DiffusionTrainingJob.from_object(
        {"metadata": {"name": "shapes", "namespace": "default", "uid": "0123abcd"}, "spec": spec.to_wire()}
    )
    attempt = ALONE.model_copy(update={"attempt": 2})
    store = LocalStore(tmp_path / "bucket")
    with open_trackers(RunConfiguration(job, attempt, "cpu", tmp_path / "run"), store) as trackers:
        trackers.hear(result(7))
    (found,) = store.list("tensorboard/")
    assert found.key.endswith(".0123abcd-a2")
    assert scalars(tmp_path / "bucket" / found.key)["loss"] == [(7, 0.5)]


def scalars(path: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # noqa: PLC0415  # seconds

    found: dict[str, list[tuple[int, float]]] = {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            number = value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
            found.setdefault(value.tag, []).append((event.step, cast("float", number)))
    return found
