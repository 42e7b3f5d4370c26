"""One run, killed again and again and resumed each time as the operator would: by the survey of its prefix."""

import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from t2i_api.job import JobSpec
from t2i_api.progress import ExitCode
from t2i_checkpoint.choose import Resume
from t2i_dev.errors import DevelopmentError
from t2i_dev.forked_trainer import Attempt, start
from t2i_dev.kill_matrix.board import Board, Phase, watch
from t2i_dev.kill_matrix.bucket import Bucket
from t2i_dev.kill_matrix.compiled_code import CompiledCode
from t2i_dev.kill_matrix.moments import Kill
from t2i_trainer.local import beginning_of

_POLL_SECONDS = 0.001
_BEFORE_STEPS = frozenset({Phase.START, Phase.FIRST_STEP, Phase.COMPILATION})
_DOWN = {-signal.SIGKILL, -signal.SIGTERM, ExitCode.SUCCEEDED, ExitCode.INTERRUPTED, ExitCode.PEER_LOST}


@dataclass(frozen=True)
class Killed:
    """What a kill met and left."""

    kill: Kill
    world_size: int
    met: Phase
    step: int
    resumed_from: int
    newest: int
    statuses: tuple[int, ...]


@dataclass
class Chain:
    """A run from step 0 to its last step over many attempts."""

    name: str
    folder: Path
    bucket: Bucket
    code: CompiledCode
    job: dict[str, Any]
    worlds: Sequence[int]
    kills: list[Killed] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    attempts: int = 0

    def run(self, kills: Iterator[Kill], wanted: int) -> None:
        """Train to the last step, killed at up to `wanted` moments."""
        for world_size in cycle(self.worlds):
            kill = next(kills) if len(self.kills) < wanted else None
            board = Board()
            if kill is not None and kill.cold:
                self.code.forget()
            attempt, resumed_from = self._start(world_size, board)
            met = None if kill is None else self._await(attempt, board, kill, resumed_from)
            if kill is not None and met is not None:
                _carry_out(kill, attempt)
            statuses = attempt.wait()
            self._look(attempt)
            if kill is not None and met is not None:
                ends = tuple(statuses[rank] for rank in sorted(statuses))
                self.kills.append(Killed(kill, world_size, *met, resumed_from, self.bucket.newest, ends))
                self._check_stop(kill, met, ends)
            if all(status == ExitCode.SUCCEEDED for status in statuses.values()):
                return

    def _start(self, world_size: int, board: Board) -> tuple[Attempt, int]:
        begin = beginning_of(JobSpec.model_validate(self.job["spec"]))
        resume_from, step = (begin.judgement.name, begin.judgement.step) if isinstance(begin, Resume) else (None, 0)
        if step < self.bucket.newest:
            self.faults.append(f"step {self.bucket.newest} was committed, the survey goes on from {step}")
        self.attempts += 1
        number, folder = self.attempts, self.folder / f"attempt-{self.attempts:03d}"

        def in_rank(rank: int) -> None:
            self.code.use(folder / "run")
            watch(board if rank == 0 else None, folder / f"samples-{rank}.jsonl", attempt=number, rank=rank)

        attempt = start(
            folder, self.job, number=number, world_size=world_size, resume_from=resume_from, in_rank=in_rank
        )
        return attempt, step

    def _await(self, attempt: Attempt, board: Board, kill: Kill, resumed_from: int) -> tuple[Phase, int] | None:
        """Return what was met when the moment came; None if the attempt ended before."""
        first = None
        while attempt.poll():
            phase, step = board.read()
            first = step if first is None and phase >= Phase.STEP else first
            self.bucket.note()
            early = kill.phase in _BEFORE_STEPS
            far = first is not None and step >= first + kill.steps
            far = far and (self.bucket.newest > resumed_from or not kill.commits)
            if (early or far) and self._is(phase, kill):
                time.sleep(kill.extra_seconds)
                now, step = board.read()
                beside = kill.phase in {Phase.UPLOAD, Phase.ROTATION}
                return (kill.phase if beside else now), step
            time.sleep(_POLL_SECONDS)
        return None

    def _is(self, phase: Phase, kill: Kill) -> bool:
        if kill.phase is Phase.UPLOAD:
            return self.bucket.is_uploading()
        if kill.phase is Phase.ROTATION:
            return self.bucket.is_rotating()
        return phase is kill.phase and (phase is not Phase.COMPILATION or self.code.begun() >= kill.libraries)

    def _look(self, attempt: Attempt) -> None:
        self.faults += [f"after attempt {attempt.number}: {fault}" for fault in self.bucket.look()]
        odd = {status for status in attempt.statuses.values() if status not in _DOWN}
        if odd:
            raise DevelopmentError(f"attempt {attempt.number} ended with {sorted(odd)}:\n{attempt.log()[-6000:]}")

    def _check_stop(self, kill: Kill, met: tuple[Phase, int], ends: tuple[int, ...]) -> None:
        """A stop on request leaves a checkpoint of the very step that it met, or a later one."""
        stopped = kill.signal is signal.SIGTERM and not kill.one_rank and ExitCode.INTERRUPTED in ends
        if stopped and met[0] not in _BEFORE_STEPS and self.bucket.newest < met[1]:
            self.faults.append(f"a stop at step {met[1]} left step {self.bucket.newest} as the newest checkpoint")


def _carry_out(kill: Kill, attempt: Attempt) -> None:
    ranks = tuple(range(attempt.world_size))
    if kill.one_rank:
        attempt.signal(kill.signal, (random.Random(attempt.number).choice(ranks),))  # noqa: S311  # not secrets
    elif kill.signal is signal.SIGKILL:
        attempt.lose()
    else:
        attempt.signal(kill.signal, ranks)
