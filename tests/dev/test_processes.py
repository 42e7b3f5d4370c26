import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from t2i_dev.errors import ComponentFailedError
from t2i_dev.processes import ProcessIdentity, spawn, wait_until

IGNORES_SIGTERM = "trap '' TERM; echo ready; while true; do sleep 0.1; done"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "process.log"


def test_a_started_process_is_alive_until_stopped(log: Path) -> None:
    process = spawn(["sleep", "60"], log=log)
    assert process.alive
    process.stop()
    assert not process.alive


def test_a_recycled_process_id_is_neither_alive_nor_signalled(log: Path) -> None:
    process = spawn(["sleep", "60"], log=log)
    earlier_holder_of_the_id = replace(process, created=process.created - 100)
    assert not earlier_holder_of_the_id.alive
    earlier_holder_of_the_id.stop(signal.SIGKILL)
    assert process.alive
    process.stop()


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(log: Path) -> None:
    process = spawn(["sh", "-c", IGNORES_SIGTERM], log=log)
    wait_until(lambda: "ready" in log.read_text(), "the trap", timeout_seconds=10)
    process.stop(grace_seconds=0.2)
    assert not process.alive


def test_stopping_twice_is_harmless(log: Path) -> None:
    process = spawn(["true"], log=log)
    process.stop()
    process.stop()
    assert not process.alive


def test_the_environment_is_added_to_ours_and_output_goes_to_the_log(log: Path) -> None:
    process = spawn(["sh", "-c", 'echo "$ADDED $HOME"; echo problem >&2'], log=log, environment={"ADDED": "yes"})
    wait_until(lambda: not process.alive, "echo", timeout_seconds=10)
    assert log.read_text().startswith("yes /")
    assert "problem" in log.read_text()


def test_waiting_reports_the_end_of_the_log_of_a_process_that_died(log: Path) -> None:
    process = spawn(["sh", "-c", "echo cannot open port; exit 3"], log=log)
    with pytest.raises(ComponentFailedError, match=r"server: the process ended.*\n.*cannot open port"):
        wait_until(lambda: False, "server", timeout_seconds=10, process=process, log=log)


def test_waiting_gives_up_after_the_time_allowed() -> None:
    with pytest.raises(ComponentFailedError, match="server: not ready after 0 s"):
        wait_until(lambda: False, "server", timeout_seconds=0.1)


def test_a_program_that_does_not_exist_is_named(log: Path) -> None:
    with pytest.raises(ComponentFailedError, match="no-such-program: no such program"):
        spawn(["no-such-program"], log=log)


def test_a_process_bound_to_its_parent_dies_with_it(log: Path, tmp_path: Path) -> None:
    """A killed test run used to leave its S3 server behind."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom t2i_dev.processes import spawn\n"
        f"child = spawn(['sleep', '60'], log=Path({str(tmp_path / 'child.log')!r}), die_with_parent=True)\n"
        "print(child.pid, child.created, flush=True)\ntime.sleep(60)\n"
    )
    parent = spawn([sys.executable, "-c", script], log=log)
    wait_until(lambda: len(log.read_text().split()) == 2, "the child", timeout_seconds=20, process=parent, log=log)
    pid, created = log.read_text().split()
    child = ProcessIdentity(int(pid), float(created))
    assert child.alive
    parent.stop(signal.SIGKILL)
    wait_until(lambda: not child.alive, "the child's end", timeout_seconds=5)
