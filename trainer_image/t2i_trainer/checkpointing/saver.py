"""Saving while training goes on: a snapshot here, the rest in a process of its own; one save in flight at most.

Training waits for the copy into host memory and for the save before, if that still is under way. Whatever the uploading
process meets is this run's error at the next step at the latest: a checkpoint is never silently missing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from pydantic import ValidationError

from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_trainer.checkpointing.order import SaveOutcome
from t2i_trainer.checkpointing.save import gather_rank_facts, make_order
from t2i_trainer.checkpointing.snapshot import Snapshot
from t2i_trainer.checkpointing.state import tensor_files
from t2i_trainer.errors import TrainerError
from t2i_trainer.shares import help_gathering, is_sharded

if TYPE_CHECKING:
    from typing import IO

    from t2i_checkpoint.manifest import RankFacts
    from t2i_trainer.checkpointing.order import SaveOrder
    from t2i_trainer.checkpointing.save import RunFacts
    from t2i_trainer.checkpointing.state import TrainingState
    from t2i_trainer.checkpointing.trainer_state import TrainerState
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.telemetry import Telemetry
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")

_MODULE = "t2i_trainer.checkpointing.uploader"
# What is left of the grace period for everything after the save.
_GRACE_MARGIN_SECONDS = 10


@dataclass(frozen=True)
class InFlight:
    """A save that was handed over; `folder` is its name, `answer` comes on rank 0 only."""

    step: int
    folder: str
    began_at: float
    answer: Future[SaveOutcome] | None


class Saver:
    """Every rank has one and calls the same methods at the same steps; rank 0's holds snapshot and process."""

    def __init__(self, configuration: RunConfiguration, world: World, telemetry: Telemetry) -> None:
        self._configuration = configuration
        self._world = world
        self._telemetry = telemetry
        self._scratch = configuration.run_directory / "save"
        self._snapshot = Snapshot(configuration.run_directory / "snapshot", world.device)
        self._uploader: Uploader | None = None
        self._in_flight: InFlight | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever ends the run: let a save in flight come to its end within the grace period, then the process."""
        grace = self._configuration.spec.workers.template.termination_grace_period_seconds
        if self._in_flight is not None and self._in_flight.answer is not None:
            logger.info("waiting for the save of step %d", self._in_flight.step)
            with contextlib.suppress(TrainerError, TimeoutError):
                self._note(self._in_flight.answer.result(max(1, grace - _GRACE_MARGIN_SECONDS)))
        if self._uploader is not None:
            self._uploader.close()
        self._snapshot.close()

    def save(
        self,
        *,
        state: TrainingState,
        batch: Batch,
        trainer_state: TrainerState,
        facts: RunFacts,
        metrics: bytes,
    ) -> None:
        """Take a snapshot of the step just taken and hand it over; waits for the save before. Raises TrainerError."""
        began_at = time.monotonic()
        self._wait()
        ranks = gather_rank_facts(self._world, state, batch)
        folder = layout.checkpoint_folder(state.step, facts.writer).removeprefix(layout.CHECKPOINTS)
        answer = None
        if self._world.leads:
            answer = self._hand_over(state, trainer_state, facts, ranks, metrics)
            self._telemetry.blocked_by_save(time.monotonic() - began_at)
        elif is_sharded(state.unet):
            help_gathering(tensor_files(state))
        self._in_flight = InFlight(state.step, folder, began_at, answer)

    @property
    def is_idle(self) -> bool:
        """Whether the uploading process has nothing to do; rank 0 knows, the others see nothing of it."""
        known = self._in_flight
        return known is None or known.answer is None or known.answer.done()

    def look(self) -> None:
        """Note a save that has come to its end since, on rank 0; raises TrainerError if it failed."""
        known = self._in_flight
        if known is not None and known.answer is not None and known.answer.done():
            self._note(known.answer.result())

    def settle(self) -> None:
        """Return when no save is in flight any more, on every rank; raises TrainerError if it failed."""
        began_at = time.monotonic()
        waited = self._in_flight is not None
        self._wait()
        if waited and self._world.leads:
            self._telemetry.blocked_by_save(time.monotonic() - began_at)

    def _wait(self) -> None:
        known = self._in_flight
        self._world.attend(lambda: self.is_idle)
        failed = self._has_failed()
        self.look()
        if known is not None and not self._world.leads and not failed:  # which hear of the commit here
            self._telemetry.knows_checkpoint(known.folder, known.step)
        self._in_flight = None

    def _has_failed(self) -> bool:
        """Whether rank 0 was told so, on every rank: none may name a checkpoint that was never committed."""
        answer = None if self._in_flight is None else self._in_flight.answer
        mine = answer is not None and answer.result().manifest is None
        return bool(self._world.sum(torch.tensor([mine], dtype=torch.int32, device=self._world.device)))

    def _note(self, outcome: SaveOutcome) -> None:
        known = self._in_flight
        if known is None or known.answer is None:
            return
        # The future stays known until every rank has met in `_wait`, but is read once.
        self._in_flight = InFlight(known.step, known.folder, known.began_at, None)
        if outcome.manifest is None:
            self._telemetry.save_failed()
            raise TrainerError(outcome.code, f"the checkpoint of step {known.step} was not saved: {outcome.message}")
        self._telemetry.saved(outcome.manifest, time.monotonic() - known.began_at, outcome.seconds)
        self._telemetry.knows_checkpoint(known.folder, known.step)

    def _hand_over(
        self,
        state: TrainingState,
        trainer_state: TrainerState,
        facts: RunFacts,
        ranks: tuple[RankFacts, ...],
        metrics: bytes,
    ) -> Future[SaveOutcome]:
        self._snapshot.take(tensor_files(state))
        shutil.rmtree(self._scratch, ignore_errors=True)
        order = make_order(
            self._scratch,
            {path: file.laid for path, file in self._snapshot.files.items()},
            state=state,
            trainer_state=trainer_state,
            facts=facts,
            ranks=ranks,
            metrics=metrics,
            retain=self._configuration.spec.checkpoint.retain,
        )
        if self._uploader is None:
            checkpoint = self._configuration.spec.checkpoint
            descriptors = tuple(file.descriptor for file in self._snapshot.files.values())
            self._uploader = Uploader(checkpoint.uri, checkpoint.endpoint, checkpoint.region, descriptors)
        return self._uploader.publish(order)


class Uploader:
    """The process of `uploader.py`, and the thread that hears its answers."""

    def __init__(self, uri: str, endpoint: str | None, region: str | None, descriptors: tuple[int, ...]) -> None:
        command = [sys.executable, "-m", _MODULE, "--uri", uri, "--parent", str(os.getpid())]
        command += ["--endpoint", endpoint] if endpoint else []
        command += ["--region", region] if region else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors)
        self._waiting: Future[SaveOutcome] | None = None
        self._listener = threading.Thread(target=self._listen, name="uploader", daemon=True)
        self._listener.start()

    @property
    def process_id(self) -> int:
        """The process's id."""
        return self._process.pid

    def publish(self, order: SaveOrder) -> Future[SaveOutcome]:
        """Send an order; the one before must have been answered. The answer never is an exception."""
        answer: Future[SaveOutcome] = Future()
        self._waiting = answer
        try:
            _stream(self._process.stdin).write(order.model_dump_json().encode() + b"\n")
            _stream(self._process.stdin).flush()
        except OSError:
            self._listener.join()
            self._is_gone()
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            _stream(self._process.stdin).close()
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        for line in _stream(self._process.stdout):
            self._answer(_outcome_of(line))
        self._is_gone()

    def _answer(self, outcome: SaveOutcome) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(outcome)

    def _is_gone(self) -> None:
        status = self._process.wait()
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        way_out = "Look at the log above, and at the container's memory limit; the last committed checkpoint is intact"
        self._answer(
            SaveOutcome(seconds=0.0, code=ExitCode.CRASHED, message=f"the process that uploads it {how}. {way_out}")
        )


def _outcome_of(line: bytes) -> SaveOutcome:
    try:
        return SaveOutcome.model_validate_json(line)
    except ValidationError as error:
        return SaveOutcome(seconds=0.0, code=ExitCode.CRASHED, message=f"the uploading process answered {error}")


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise TypeError("the process was started without this stream")
    return stream
