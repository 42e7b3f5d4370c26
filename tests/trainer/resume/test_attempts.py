"""What an attempt says while it runs and how it ends: killed, bereaved, stopped, finished, refused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from t2i_api.progress import ExitCode, TrainerPhase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.trainer.resume.conftest import Cluster, Story


def test_a_lost_peer_is_said_promptly_and_is_no_crash(story: Story) -> None:
    assert story.peer_codes == [ExitCode.PEER_LOST]


def test_a_stop_on_one_pod_stops_all_after_a_checkpoint(story: Story) -> None:
    for message in story.stop_messages:
        assert message.exit_code is ExitCode.INTERRUPTED
        assert message.progress is not None
        assert message.progress.step == story.stopped_after


def test_progress_and_metrics_tell_of_the_running_attempt(story: Story) -> None:
    progress = story.progress
    assert progress.attempt == 2
    assert progress.world_size == 2
    assert progress.target_steps == story.steps
    assert progress.resumed_from_step == story.killed_after
    assert progress.phase in {TrainerPhase.TRAINING, TrainerPhase.SAVING, TrainerPhase.SAMPLING}
    assert progress.step > story.killed_after
    losses = {row["step"]: row["loss"] for row in story.disturbed.rows()}
    assert progress.loss == losses[progress.step]
    assert f"t2i_trainer_target_steps {float(story.steps)}" in story.metrics
    assert "t2i_trainer_images_total" in story.metrics


def test_the_end_is_told_with_the_last_progress(story: Story) -> None:
    message = story.end_messages[0]
    assert message.exit_code is ExitCode.SUCCEEDED
    assert message.progress is not None
    assert message.progress.step == story.steps
    assert message.progress.last_checkpoint == story.disturbed.newest_name()


@pytest.mark.exhaustive
def test_a_checkpoint_of_another_architecture_is_refused_and_nothing_is_written(
    story: Story, tmp_path: Path, cluster_at: Callable[..., Cluster]
) -> None:
    shutil.copytree(story.undisturbed.folder / "bucket", tmp_path / "bucket")
    other = cluster_at(tmp_path, block_out_channels=[16, 32])
    before = {info.key: (info.size, info.etag) for info in other.store.list("")}
    (pod,) = other.start(9, workers=1, processes=1, resume_from=story.undisturbed.newest_name())
    pod.expect(ExitCode.INCOMPATIBLE_WEIGHTS)
    assert "conv_in.weight: stored [8, 3, 3, 3], wanted [16, 3, 3, 3]" in pod.message.message
    assert {info.key: (info.size, info.etag) for info in other.store.list("")} == before
