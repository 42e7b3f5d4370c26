"""One container as one process: started with its environment, ended with grace, its end told as by a kubelet."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TERMINATION_MESSAGE_BYTES = 4096  # the kubelet's limit
LOG_LINES_AS_MESSAGE = 80


@dataclass
class ContainerProcess:
    """A started container; everything that its status needs."""

    name: str
    image: str
    process: subprocess.Popen[bytes]
    log: Path
    termination_message: Path
    falls_back_to_logs: bool
    started_at: datetime
    restarts: int = 0
    finished_at: datetime | None = None
    kill_at: float | None = field(default=None, repr=False)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + signal number for a process that a signal ended, as a shell and the kubelet say."""
        code = self.process.poll()
        if code is None:
            return None
        if self.finished_at is None:
            self.finished_at = datetime.now(UTC)
        return 128 - code if code < 0 else code

    def end(self, grace_seconds: float) -> None:
        """Ask it to stop; `enforce` makes it once the grace is over. Asking again changes nothing."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + grace_seconds
            self._signal(signal.SIGTERM)

    def enforce(self) -> None:
        """Kill it if its grace is over."""
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill()

    def kill(self) -> None:
        """SIGKILL for it and everything that it started."""
        self._signal(signal.SIGKILL)

    def state(self) -> dict[str, Any]:
        """core/v1 ContainerState."""
        code = self.exit_code
        started = rfc3339(self.started_at)
        if code is None:
            return {"running": {"startedAt": started}}
        terminated = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "message": self._message(failed=code != 0),
            "startedAt": started,
            "finishedAt": rfc3339(self.finished_at or datetime.now(UTC)),
            "containerID": f"process://{self.process.pid}",
        }
        return {"terminated": terminated}

    def _message(self, *, failed: bool) -> str:
        text = self.termination_message.read_bytes()[:TERMINATION_MESSAGE_BYTES].decode(errors="replace")
        if not text and failed and self.falls_back_to_logs:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_AS_MESSAGE:]
            text = "\n".join(lines)[-TERMINATION_MESSAGE_BYTES // 2 :]
        return text

    def _signal(self, number: signal.Signals) -> None:
        # The whole group: torchrun's workers are grandchildren of this node.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def start_container(  # noqa: PLR0913  # keyword-only, one call site
    container: dict[str, Any],
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    log: Path,
    termination_message: Path,
    restarts: int,
) -> ContainerProcess:
    """Start the process in a group of its own. Raises OSError when the program cannot be started."""
    termination_message.parent.mkdir(parents=True, exist_ok=True)
    termination_message.write_bytes(b"")
    log.parent.mkdir(parents=True, exist_ok=True)
    # A node that is killed leaves nothing running, where the machine can do that (Linux).
    prefix = [setpriv, "--pdeathsig", "KILL", "--"] if (setpriv := shutil.which("setpriv")) else []
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*prefix, *command],
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return ContainerProcess(
        name=container["name"],
        image=container["image"],
        process=process,
        log=log,
        termination_message=termination_message,
        falls_back_to_logs=container.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        started_at=datetime.now(UTC),
        restarts=restarts,
    )


def rfc3339(at: datetime) -> str:
    """meta/v1 Time: whole seconds, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
