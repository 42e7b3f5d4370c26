"""The launcher waits for names within bounds, and its help and errors teach."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from torch.distributed.elastic.multiprocessing import SignalException

from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode, TerminationMessage
from t2i_dev.ports import free_ports
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.failures import TrainerError
from t2i_trainer.launch import Launch, wait_for_name
from t2i_trainer.local import local_attempt
from t2i_trainer.rank_figures import RankFigures

SECONDS = 120
STOPPED_EARLY = "stopped on request before training began; nothing was changed"


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


# Whether the launcher was asked to stop, whether its worker had read its job, how many processes were killed for
# memory, and how a pod without a report ends.
SILENT_ENDS: dict[str, tuple[bool, bool, int, ExitCode, str]] = {
    "nobody asked": (False, False, 0, ExitCode.CRASHED, "ended without a word"),
    "while torch was imported": (True, False, 0, ExitCode.INTERRUPTED, STOPPED_EARLY),
    "killed at the end of its grace": (
        True,
        True,
        0,
        ExitCode.INTERRUPTED,
        "before it could say what was saved",
    ),
    "killed for memory in its last save": (True, True, 1, ExitCode.OUT_OF_MEMORY, "workers.template.resources.memory"),
}


@pytest.mark.parametrize("case", SILENT_ENDS)
def test_a_stop_on_request_is_no_crash_where_no_worker_could_say_so(
    case: str, job_spec: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, had_begun, kills, code, words = SILENT_ENDS[case]
    counted = iter([0, kills])
    monkeypatch.setattr("t2i_trainer.launch.out_of_memory_kills", lambda: next(counted))
    (tmp_path / "bucket").mkdir()
    job = DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=job_spec)
    launch = Launch(RunConfiguration(job, local_attempt(job), "cpu", tmp_path), tmp_path / "job", tmp_path / "attempt")

    def start(_self: Launch, _address: str) -> None:
        if had_begun:
            RankFigures(0, tmp_path / "figures")
        if asked:
            raise SignalException("so", signal.SIGTERM)

    monkeypatch.setattr(Launch, "_start", start)
    ended = launch.run()
    assert (ended.status, ended.message.exit_code) == (code, code)
    assert words in ended.message.message


def hears(process_id: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal, as the kernel knows it."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)


def workers_of(process_id: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process_id)], capture_output=True, text=True, check=False)
    return [
        int(child)
        for child in found.stdout.split()
        if "t2i_trainer.worker" in Path(f"/proc/{child}/cmdline").read_text().split("\0")
    ]


@pytest.mark.parametrize("moment", ["the launcher imports torch", "the worker imports torch"])
def test_a_drain_while_torch_is_imported_is_an_interruption(moment: str, job_spec: JobSpec, tmp_path: Path) -> None:
    document = {"metadata": {"name": "shapes"}, "spec": job_spec.to_wire()}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "bucket").mkdir()
    log = tmp_path / "termination-log"
    log.touch()
    command = [sys.executable, "-m", "t2i_trainer.main", "--job", str(tmp_path / "job.yaml")]
    command += ["--port", str(free_ports(1)[0]), "--termination-log", str(log)]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + SECONDS
    while not (hears(launcher.pid, signal.SIGTERM) if "launcher" in moment else workers_of(launcher.pid)):
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    launcher.send_signal(signal.SIGTERM)
    _, said = launcher.communicate(timeout=SECONDS)
    message = TerminationMessage.model_validate_json(log.read_bytes())
    assert (launcher.returncode, message.exit_code) == (ExitCode.INTERRUPTED, ExitCode.INTERRUPTED), said
    assert message.message == STOPPED_EARLY
    assert "Traceback" not in said
