"""The launcher waits for names within bounds, and its help and errors teach."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from t2i_api.progress import ExitCode, TerminationMessage
from t2i_trainer.failures import TrainerError
from t2i_trainer.launch import wait_for_name

if TYPE_CHECKING:
    from pathlib import Path


def test_a_name_that_resolves_is_not_waited_for() -> None:
    wait_for_name("127.0.0.1", 0)


def test_a_name_that_never_resolves_is_a_lost_peer() -> None:
    with pytest.raises(TrainerError, match="has no address after 0 s") as lost:
        wait_for_name("no-such-pod.invalid", 0)
    assert lost.value.code is ExitCode.PEER_LOST


def test_a_bad_job_ends_with_its_field_in_the_termination_message(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("metadata: {name: shapes}\nspec: {data: {resolution: 33}}\n")
    log = tmp_path / "termination-log"
    log.touch()
    command = [sys.executable, "-m", "t2i_trainer.main", "--job", str(tmp_path / "job.yaml")]
    command += ["--termination-log", str(log)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    message = TerminationMessage.model_validate_json(log.read_bytes())
    assert ended.returncode == message.exit_code == ExitCode.BAD_CONFIGURATION
    assert "spec.data.resolution" in message.message
    assert "Traceback" not in ended.stderr
