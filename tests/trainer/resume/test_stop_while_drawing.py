"""A real run of two processes that draws for minutes is asked to stop in its first picture: it saves within seconds."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.trainer.resume.conftest import fetch

from t2i_api.progress import ExitCode, Progress, TrainerPhase
from t2i_checkpoint import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.trainer.resume.conftest import Cluster, Pod

pytestmark = pytest.mark.exhaustive  # test_train.py samples it, in one process and without a signal

GRACE_SECONDS = 30
DRAWN_AT = 3
PROMPTS = [f"a {colour} circle on white" for colour in ("red", "green", "blue", "yellow", "purple")]


def wait_until_it_draws(pod: Pod) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert pod.process.poll() is None, pod.output.read_text()
        try:
            now = Progress.model_validate_json(fetch(pod.port, "/progress"))
        except OSError:
            continue
        if (now.phase, now.step) == (TrainerPhase.SAMPLING, DRAWN_AT):
            return
        time.sleep(0.05)
    pytest.fail(pod.output.read_text())


def test_a_stop_in_the_first_picture_leaves_that_step_saved_and_its_pictures_to_the_next_attempt(
    cluster_at: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = cluster_at(tmp_path / "run")
    spec = cluster.job["spec"]
    spec["training"]["steps"] = DRAWN_AT + 2
    spec["sampling"] |= {"prompts": PROMPTS, "inferenceSteps": 1000, "everySteps": DRAWN_AT}
    folder = layout.sample_folder(DRAWN_AT)

    (pod,) = cluster.start(1, workers=1, processes=2)
    wait_until_it_draws(pod)
    asked = time.monotonic()
    pod.process.send_signal(signal.SIGTERM)
    pod.expect(ExitCode.INTERRUPTED)
    assert time.monotonic() - asked < GRACE_SECONDS
    assert [each.step for each in cluster.manifests()] == [DRAWN_AT]
    assert not list(cluster.store.list(folder))

    spec["sampling"]["inferenceSteps"] = 2
    (pod,) = cluster.start(2, workers=1, processes=2, resume_from=cluster.newest_name())
    pod.expect(ExitCode.SUCCEEDED)
    names = {info.key.rpartition("/")[2] for info in cluster.store.list(folder)}
    assert {layout.GRID, *(f"{number:04d}.png" for number in range(len(PROMPTS)))} <= names
