"""Start, recognise and stop the processes of the development cluster.

A process is remembered by its id *and* its start time, so that a recycled id is never signalled.
"""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from t2i_dev.errors import ComponentFailedError

# psutil derives the start time from the boot time, which NTP may shift by fractions of a second.
START_TIME_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of this boot: `pid`, and `created` in seconds since the epoch."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """Identify a running process. Raises `psutil.NoSuchProcess` when there is none."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The live process, or None when it ended, is a zombie, or its id belongs to another by now."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) > START_TIME_TOLERANCE_SECONDS:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process() is not None

    def send(self, sig: signal.Signals) -> None:
        """Send a signal; harmless when the process is gone."""
        process = self.process()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(sig)

    def stop(self, sig: signal.Signals = signal.SIGTERM, grace_seconds: float = 10.0) -> None:
        """Signal the process and wait; SIGKILL once the grace is over. Harmless when it is gone."""
        self.send(sig)
        if wait_gone([self], grace_seconds):
            self.send(signal.SIGKILL)
            wait_gone([self], grace_seconds)


def wait_gone(processes: Sequence[ProcessIdentity], timeout_seconds: float) -> list[ProcessIdentity]:
    """Wait until the processes ended; returns those that did not in time.

    A zombie counts as ended: its resources are free, and who collects it (often a slow init) is not our business.
    """
    deadline = time.monotonic() + timeout_seconds
    remaining = list(processes)
    while remaining := [each for each in remaining if each.alive]:
        if time.monotonic() > deadline:
            return remaining
        time.sleep(0.01)
    for each in processes:
        # Our own children are collected, so that long test sessions do not gather zombies.
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.waitpid(each.pid, os.WNOHANG)
    return []


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    die_with_parent: bool = False,
) -> ProcessIdentity:
    """Start a detached process with its output appended to `log`.

    `environment` is added to our own. `die_with_parent` asks Linux to kill the process when the calling thread ends,
    so that a killed test run leaves nothing behind.
    """
    command = list(argv)
    if die_with_parent and (setpriv := shutil.which("setpriv")):
        # The parent may die before setpriv asks for the signal: whoever was orphaned by then never begins.
        unless_orphaned = '[ "$PPID" = "$0" ] && exec "$@"'
        command = [setpriv, "--pdeathsig", "KILL", "--", "sh", "-c", unless_orphaned, str(os.getpid()), *command]
    executable = shutil.which(command[0])
    if executable is None:
        raise ComponentFailedError(f"cannot start {command[0]}: no such program")
    log.parent.mkdir(parents=True, exist_ok=True)
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Not subprocess.Popen: the processes outlive the object, which would then warn.
    pid = os.posix_spawn(
        executable,
        command,
        {**os.environ, **(environment or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), appending, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return ProcessIdentity.of(pid)


def wait_until(  # noqa: PLR0913  # what to wait for, and what to say when it does not come
    ready: Callable[[], bool],
    what: str,
    *,
    timeout_seconds: float,
    process: ProcessIdentity | None = None,
    log: Path | None = None,
    poll_seconds: float = 0.05,
) -> float:
    """Poll `ready` until it holds; returns the seconds waited.

    Raises `ComponentFailedError` with the end of `log` when `process` dies first or time runs out.
    """
    begin = time.monotonic()
    while not ready():
        waited = time.monotonic() - begin
        if process is not None and not process.alive:
            raise ComponentFailedError(f"{what}: the process ended after {waited:.1f} s{_log_end(log)}")
        if waited > timeout_seconds:
            raise ComponentFailedError(f"{what}: not ready after {timeout_seconds:.0f} s{_log_end(log)}")
        time.sleep(poll_seconds)
    return time.monotonic() - begin


def _log_end(log: Path | None, lines: int = 12) -> str:
    if log is None or not log.exists():
        return ""
    tail = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"; the end of {log}:", *tail])
