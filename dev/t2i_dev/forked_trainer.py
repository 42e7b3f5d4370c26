"""The processes of one attempt, forked from one that has imported torch: a start costs a second instead of ten.

Each is the trainer's own worker as torchrun starts it, with the environment that torchrun gives. Only the launcher is
missing; what it does with signals and exit statuses is told by tests/trainer/resume.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from t2i_api.attempt import AttemptDocument
from t2i_dev.ports import free_ports
from t2i_trainer import worker

_DEADLINE_SECONDS = 300.0
_POLL_SECONDS = 0.002


@dataclass
class Attempt:
    """One attempt under way; `statuses` of the ranks that have ended, negative for a signal."""

    number: int
    folder: Path
    pids: dict[int, int]
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def world_size(self) -> int:
        """Ranks, ended ones too."""
        return len(self.pids)

    def poll(self) -> bool:
        """Whether some rank still runs."""
        for rank, pid in self.pids.items():
            if rank not in self.statuses:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self.statuses[rank] = os.waitstatus_to_exitcode(status)
        return len(self.statuses) < len(self.pids)

    def signal(self, number: signal.Signals, ranks: tuple[int, ...]) -> None:
        """Send a signal to ranks that still run."""
        for rank in ranks:
            if rank not in self.statuses:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pids[rank], number)

    def lose(self) -> None:
        """Kill every rank that still runs and every process it started, as the loss of their pod would."""
        for rank, pid in self.pids.items():
            if rank not in self.statuses:
                os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError):  # not the first of a group yet: it has started nothing
                    os.killpg(pid, signal.SIGKILL)

    def wait(self) -> dict[int, int]:
        """Return every rank's exit status; what does not end by itself is killed and told as -9."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while self.poll():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL, tuple(self.pids))
            time.sleep(_POLL_SECONDS)
        return self.statuses

    def log(self) -> str:
        """What the ranks said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("rank-*.log")))


def start(  # noqa: PLR0913  # keyword-only facts of an attempt
    folder: Path,
    job: Mapping[str, Any],
    *,
    number: int,
    world_size: int,
    resume_from: str | None,
    in_rank: Callable[[int], None],
) -> Attempt:
    """Fork the ranks of an attempt; `folder` gets documents and logs, `in_rank` is called in each rank beforehand."""
    folder.mkdir(parents=True)
    rendezvous, metrics = free_ports(2)
    document = AttemptDocument(
        job_name=job["metadata"]["name"],
        job_namespace=job["metadata"]["namespace"],
        job_uid=job["metadata"]["uid"],
        attempt=number,
        workers=1,
        processes_per_worker=world_size,
        resume_from=resume_from,
        rendezvous_address="127.0.0.1",
        rendezvous_port=rendezvous,
        metrics_port=metrics,
    )
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    (folder / "attempt.json").write_text(document.model_dump_json(by_alias=True))
    sys.stdout.flush()
    sys.stderr.flush()
    pids = {rank: _fork(folder, rank, world_size, rendezvous, in_rank) for rank in range(world_size)}
    return Attempt(number, folder, pids)


def _fork(folder: Path, rank: int, world_size: int, port: int, in_rank: Callable[[int], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        output = os.open(folder / f"rank-{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(world_size),
            LOCAL_WORLD_SIZE=str(world_size),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        in_rank(rank)
        sys.argv = ["worker", "--job", str(folder / "job.yaml"), "--attempt", str(folder / "attempt.json")]
        sys.argv += ["--run-directory", str(folder / "run"), "--address", "127.0.0.1"]
        worker.main()
    finally:
        os._exit(1)
