"""A training run on this machine, from Python or the command line: the very trainer of the cluster, as processes.

    from t2i_trainer.here import train_here
    ended = train_here("job.yaml", on_progress=lambda now: print(now.step, now.loss))

Importing this module loads no torch: the trainer runs in processes of its own, which a crash of theirs cannot take
along, and which save a checkpoint when they are asked to stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from t2i_api.attempt import DEVICE_VARIABLE, KIND
from t2i_api.job import API_VERSION, DiffusionTrainingJob
from t2i_api.job_file import JobFileError, parse_job
from t2i_api.progress import MAXIMUM_PROGRESS_BYTES, ExitCode, Progress, TerminationMessage
from t2i_trainer.interruption import STOPPED_BEFORE_TRAINING
from t2i_trainer.reports import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.5
_LAST_LINES = 20


class TrainingFailedError(Exception):
    """The run ended before its last step and was not asked to; `ended` says how, and what to do."""

    def __init__(self, ended: TerminationMessage) -> None:
        super().__init__(f"{ended.reason}: {ended.message}")
        self.ended = ended


def train_here(  # noqa: PLR0913  # keyword-only options with defaults
    job: DiffusionTrainingJob | Path | str,
    *,
    processes: int | None = None,
    device: str | None = None,
    metrics_port: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_log: Callable[[str], None] | None = None,
    on_stopping: Callable[[], None] | None = None,
) -> TerminationMessage:
    """Train a job on this machine to its last step, and return how it ended.

    The newest checkpoint below `checkpoint.uri` that fits is resumed; with none the run begins as the operator would
    let it begin, and it refuses to start beside what does not fit. Ctrl-C saves a checkpoint and stops: the same call
    goes on from there. A second Ctrl-C stops at once; what was saved before stays.

    Args:
        job: The job, or a YAML file with one. `workers.template.env` holds here too; this process's environment wins.
        processes: World size, one process a GPU. Default: the job's own. Another one changes nothing but rounding.
        device: `cpu` or `cuda`. Default: CUDA exactly when the job asks for GPUs.
        metrics_port: Where `http://127.0.0.1:PORT/progress` and `/metrics` are served. Default: any free port.
        on_progress: Called about twice a second with rank 0's report, once there is one.
        on_log: Called with each line of the trainer's log. Default: they go to standard error.
        on_stopping: Called once when Ctrl-C is understood.

    Returns:
        The last words of the run: exit code SUCCEEDED, or INTERRUPTED where it was asked to stop, and its progress.

    Raises:
        TrainingFailedError: It ended in any other way.

    """
    port = metrics_port or _free_port()
    with tempfile.TemporaryDirectory(prefix="t2i-train-") as folder:
        job_file, last_words = _job_file(job, Path(folder)), Path(folder) / "last-words.json"
        last_words.touch()
        command = [sys.executable, "-m", "t2i_trainer.main", "--job", str(job_file), "--address", _LOOPBACK]
        command += ["--port", str(port), "--termination-log", str(last_words), "--end-with-parent", str(os.getpid())]
        command += [] if processes is None else ["--processes", str(processes)]
        trainer = _Trainer(command, _environment(job_file, device), on_log)
        asking = _Asking(port, on_progress)
        trainer.follow(asking.ask, on_stopping)
        ended = _read(last_words, trainer)
        asking.tell(ended.progress)
    if ended.exit_code not in {ExitCode.SUCCEEDED, ExitCode.INTERRUPTED}:
        raise TrainingFailedError(ended)
    return ended


class _Trainer:
    """The launcher's process, in a session of its own: the terminal's Ctrl-C reaches only us, who pass it on once."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], on_log: Callable[[str], None] | None
    ) -> None:
        self._process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._tell = on_log or _to_standard_error
        self.last_lines: list[str] = []
        self.asked_to_stop = False
        self._reader = threading.Thread(target=self._read_log, name="log", daemon=True)
        self._reader.start()

    def follow(self, look: Callable[[], None], on_stopping: Callable[[], None] | None) -> None:
        """Wait for its end, looking now and then."""
        while self._process.returncode is None:
            try:
                look()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_POLL_SECONDS)
            except KeyboardInterrupt:
                if self.asked_to_stop:
                    self._kill()
                    raise
                self.asked_to_stop = True
                self._process.send_signal(signal.SIGTERM)
                if on_stopping is not None:
                    on_stopping()
            except BaseException:
                # Whoever called us failed, and nobody else would ever end it.
                self._process.send_signal(signal.SIGTERM)
                raise
        self._reader.join(timeout=10)

    @property
    def status(self) -> int:
        """The exit status; 128 + signal if one ended it."""
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read_log(self) -> None:
        stream = self._process.stderr
        for line in stream or ():
            text = line.decode(errors="replace").rstrip("\n")
            self.last_lines = [*self.last_lines[1 - _LAST_LINES :], text]
            self._tell(text)


class _Asking:
    """Rank 0's reports, each told once."""

    def __init__(self, port: int, on_progress: Callable[[Progress], None] | None) -> None:
        self._url = f"http://{_LOOPBACK}:{port}/progress"
        # A proxy of the environment is for the outside world.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._on_progress = on_progress
        self._told: Progress | None = None

    def ask(self) -> None:
        """Ask, and tell what is new; before the trainer listens there is nothing."""
        if self._on_progress is None:
            return
        with contextlib.suppress(OSError, ValueError), self._opener.open(self._url, timeout=2) as answer:
            self.tell(Progress.model_validate_json(answer.read(MAXIMUM_PROGRESS_BYTES + 1)))

    def tell(self, progress: Progress | None) -> None:
        """Pass a report on unless it was told."""
        if progress is not None and progress != self._told and self._on_progress is not None:
            self._told = progress
            self._on_progress(progress)


def _job_file(job: DiffusionTrainingJob | Path | str, folder: Path) -> Path:
    if not isinstance(job, DiffusionTrainingJob):
        return Path(job)
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": job.metadata.name, "namespace": job.metadata.namespace},
        "spec": job.spec.to_wire(),
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return path


def _environment(job_file: Path, device: str | None) -> dict[str, str]:
    environment = {**_template_environment(job_file), **os.environ}
    return environment if device is None else {**environment, DEVICE_VARIABLE: device}


def _template_environment(job_file: Path) -> dict[str, str]:
    """Return what the job sets for its pods; a job that cannot be read is the trainer's to refuse."""
    try:
        job = parse_job(job_file.read_bytes())
    except (OSError, JobFileError):
        return {}
    return {variable.name: variable.value for variable in job.spec.workers.template.env}


def _read(path: Path, trainer: _Trainer) -> TerminationMessage:
    """Return the launcher's last words; one that was killed had none."""
    try:
        return TerminationMessage.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        if trainer.asked_to_stop:
            return Outcome.of(ExitCode.INTERRUPTED, STOPPED_BEFORE_TRAINING).message
        said = " | ".join(trainer.last_lines[-3:])
        text = f"the trainer ended with exit status {trainer.status} and without a word; it last said: {said}"
        return Outcome.of(ExitCode.CRASHED, text).message


def _to_standard_error(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
