"""The launcher of one pod: waits for the rendezvous host, starts torchrun's agent, and ends as its workers ended.

Restarts are the operator's: `max_restarts` is 0 here, and the first rank that fails ends the pod.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.distributed import DistNetworkError, DistStoreError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from t2i_api.attempt import INDEX_VARIABLE
from t2i_api.progress import ExitCode, TerminationMessage, reason_of
from t2i_trainer import last_words
from t2i_trainer.compilation import keep_compiled_code
from t2i_trainer.failures import TrainerError
from t2i_trainer.interruption import STOPPED_BEFORE_TRAINING
from t2i_trainer.memory import out_of_memory_kills
from t2i_trainer.rank_figures import FIGURES
from t2i_trainer.reports import REPORTS, Outcome, decisive, read_reports

if TYPE_CHECKING:
    from pathlib import Path

    from t2i_trainer.configuration import RunConfiguration

logger = logging.getLogger("t2i_trainer")

_RENDEZVOUS_SECONDS = 300
_MEMORY_LIMIT = "the container's memory limit: raise workers.template.resources.memory"
_RESOLUTION_INTERVAL_SECONDS = 1.0
# What is left of the grace period for the launcher's own end after its workers have saved.
_GRACE_MARGIN_SECONDS = 5
_SIGNAL_STATUS = 128


@dataclass(frozen=True)
class Launch:
    """The files that every process of this pod reads."""

    configuration: RunConfiguration
    job_file: Path
    attempt_file: Path
    address: str = ""  # that /progress and /metrics are served on; empty: all

    def run(self) -> Outcome:
        """Start this pod's processes and wait for their end."""
        kills_before = out_of_memory_kills()
        killed: dict[int, int] = {}
        asked_to_stop = False
        try:
            address = self._rendezvous_address()
            self._start(address)
        except ChildFailedError as error:
            killed = {rank: -failure.exitcode for rank, failure in error.failures.items() if failure.exitcode < 0}
        except SignalException as error:
            asked_to_stop = True
            logger.warning("the launcher was asked to stop (%s)", signal.Signals(error.sigval).name)
        except (DistNetworkError, DistStoreError, TimeoutError) as error:
            raise TrainerError(
                ExitCode.PEER_LOST,
                f"the pods of the attempt did not come together within {_RENDEZVOUS_SECONDS} s: {error}",
            ) from error
        outcome = self._outcome(killed, out_of_memory=out_of_memory_kills() > kills_before, asked_to_stop=asked_to_stop)
        self._linger(outcome)
        return outcome

    def _linger(self, outcome: Outcome) -> None:
        words = last_words.LastWords.read(self.configuration.run_directory)
        seconds = last_words.patience(words, outcome.status, last_words.wish())
        if words is not None and seconds > 0:
            last_words.linger(words, last_words.Place(self.configuration.attempt.metrics_port, self.address), seconds)

    def _start(self, address: str) -> None:
        attempt = self.configuration.attempt
        grace = self.configuration.spec.workers.template.termination_grace_period_seconds
        os.environ.setdefault("OMP_NUM_THREADS", str(self._threads_per_process()))
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # makes cuBLAS deterministic
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything comes from the job's own store
        keep_compiled_code(self.configuration.run_directory)
        config = LaunchConfig(
            min_nodes=attempt.workers,
            max_nodes=attempt.workers,
            nproc_per_node=attempt.processes_per_worker,
            run_id=f"{attempt.job_name}-{attempt.attempt}",
            rdzv_backend="static",
            rdzv_endpoint=f"{address}:{attempt.rendezvous_port}",
            rdzv_configs={"rank": _node_rank(attempt.workers), "timeout": _RENDEZVOUS_SECONDS},
            max_restarts=0,
            local_addr=socket.gethostname() if attempt.workers > 1 else address,
            logs_specs=DefaultLogsSpecs(log_dir=str(self.configuration.run_directory / "elastic")),
            shutdown_timeout=max(1, grace - _GRACE_MARGIN_SECONDS),
        )
        worker = ["-m", "t2i_trainer.worker", "--job", str(self.job_file), "--attempt", str(self.attempt_file)]
        worker += ["--run-directory", str(self.configuration.run_directory), "--address", self.address]
        elastic_launch(config, sys.executable)(*worker)

    def _threads_per_process(self) -> int:
        """Return 1 for a CPU rehearsal in a cluster, else a share of this machine's cores.

        A pod sees all cores of its node, which others use too; and a resume on another node should add up its sums
        in the same order.
        """
        if INDEX_VARIABLE in os.environ and self.configuration.device == "cpu":
            return 1
        return max(1, len(os.sched_getaffinity(0)) // self.configuration.attempt.processes_per_worker)

    def _rendezvous_address(self) -> str:
        attempt = self.configuration.attempt
        if attempt.workers == 1:
            return "127.0.0.1"
        wait_for_name(attempt.rendezvous_address, _RENDEZVOUS_SECONDS)
        return attempt.rendezvous_address

    def _outcome(self, killed: dict[int, int], *, out_of_memory: bool, asked_to_stop: bool) -> Outcome:
        reports = read_reports(self.configuration.run_directory / REPORTS)
        silent = {rank: number for rank, number in killed.items() if rank not in {r.message.rank for r in reports}}
        message = decisive(reports)
        if silent:
            rank, number = min(silent.items())
            return _killed(rank, number, message, out_of_memory=out_of_memory)
        if message is None:
            return self._silent_end(out_of_memory=out_of_memory, asked_to_stop=asked_to_stop)
        return Outcome(message.exit_code, message)

    def _silent_end(self, *, out_of_memory: bool, asked_to_stop: bool) -> Outcome:
        """Explain that no rank left a word; one that had read its job hears a wish to stop, and says so in time."""
        if out_of_memory:  # which a stop may hide: the snapshot of the first save asks for the most
            return Outcome.of(ExitCode.OUT_OF_MEMORY, f"a process was killed at {_MEMORY_LIMIT}")
        if not asked_to_stop:
            return Outcome.of(ExitCode.CRASHED, "the workers ended without a word; see the pod's log")
        if not (self.configuration.run_directory / FIGURES).exists():
            return Outcome.of(ExitCode.INTERRUPTED, STOPPED_BEFORE_TRAINING)
        grace = self.configuration.spec.workers.template.termination_grace_period_seconds
        return Outcome.of(
            ExitCode.INTERRUPTED,
            "stopped on request, and killed before it could say what was saved: the next start goes on from the "
            f"newest checkpoint; if that lacks steps, raise workers.template.terminationGracePeriodSeconds ({grace})",
        )


def wait_for_name(host: str, seconds: float) -> None:
    """Return once `host` resolves: the pod behind it may still be on its way. Raises TrainerError(PEER_LOST)."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise TrainerError(
                    ExitCode.PEER_LOST,
                    f"the host of rank 0, {host}, has no address after {seconds:.0f} s ({error}): is pod 0 "
                    "scheduled, and does the headless Service publish addresses that are not ready?",
                ) from error
            time.sleep(_RESOLUTION_INTERVAL_SECONDS)
        else:
            return


def _killed(rank: int, number: int, known: TerminationMessage | None, *, out_of_memory: bool) -> Outcome:
    progress = known.progress if known is not None else None
    if out_of_memory:
        text = f"rank {rank} was killed at {_MEMORY_LIMIT}"
        return Outcome(ExitCode.OUT_OF_MEMORY, _message(ExitCode.OUT_OF_MEMORY, text, rank, progress))
    text = f"rank {rank} was killed by {signal.Signals(number).name}"
    return Outcome(_SIGNAL_STATUS + number, _message(ExitCode.CRASHED, text, rank, progress))


def _message(code: ExitCode, text: str, rank: int | None = None, progress: object = None) -> TerminationMessage:
    return TerminationMessage.model_validate(
        {"exit_code": code, "reason": reason_of(code), "message": text, "rank": rank, "progress": progress}
    )


def _node_rank(workers: int) -> int:
    text = os.environ.get(INDEX_VARIABLE, "" if workers > 1 else "0")
    if not text.isdecimal() or int(text) >= workers:
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"{INDEX_VARIABLE} is {text!r}, expected 0 to {workers - 1}: an Indexed Job sets it in each of its pods",
        )
    return int(text)
