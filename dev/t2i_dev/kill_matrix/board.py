"""What a training process is doing, seen from outside: a few bytes of shared memory, and a log of the samples it took.

Forked processes call `watch` before training; it wraps methods of the trainer and changes nothing of what they do.
"""

import json
import mmap
import struct
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

from t2i_trainer import train as loop
from t2i_trainer.data.feed import DrawnFeed
from t2i_trainer.step import TrainStep

_LAYOUT = struct.Struct("<BQ")


class Phase(IntEnum):
    """What rank 0 does; UPLOAD and ROTATION go on beside, in a process of their own, and are seen in the store."""

    START = 0
    FIRST_STEP = 1
    COMPILATION = 2
    STEP = 3
    SNAPSHOT = 4
    EVALUATION = 5
    SAMPLING = 6
    SETTLING = 7
    UPLOAD = 8
    ROTATION = 9


class Board:
    """Shared between the process that kills and those that are killed."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def tell(self, phase: Phase, step: int) -> None:
        """Write what goes on; `step` counts the steps that were launched."""
        self._memory[: _LAYOUT.size] = _LAYOUT.pack(phase, step)

    def read(self) -> tuple[Phase, int]:
        """Return phase and step."""
        phase, step = _LAYOUT.unpack(self._memory[: _LAYOUT.size])
        return Phase(phase), step


def watch(board: Board | None, samples: Path, *, attempt: int, rank: int) -> None:
    """Let this process write on the board (rank 0) and log every sample that it trains on, one line a step."""
    made: dict[str, dict[str, Any]] = {}
    log = samples.open("a", buffering=1)

    def remember(make: Callable[..., Any]) -> Callable[..., Any]:
        def on_host(feed: Any, step: int) -> Any:
            batch = make(feed, step)
            indices = feed._order.indices(step, feed._world.rank, feed._world.size)  # noqa: SLF001
            rows = feed._order.rows(indices)  # noqa: SLF001
            made[batch.noise_sha256()] = {"indices": indices.tolist(), "rows": rows.tolist()}
            return batch

        return on_host

    def record(take: Callable[..., Any]) -> Callable[..., Any]:
        def taking(step: Any, batch: Any, *others: Any, **named: Any) -> Any:
            number = step.state.step + 1
            if board is not None:
                board.tell(Phase.STEP, number)
            answer = take(step, batch, *others, **named)
            log.write(
                json.dumps({"attempt": attempt, "rank": rank, "step": number, **made[batch.noise_sha256()]}) + "\n"
            )
            return answer

        return taking

    _wrap(DrawnFeed, "on_host", remember)
    _wrap(TrainStep, "take", record)
    if board is not None:
        for name, phase in _PHASES.items():
            _wrap(loop.Run, name, _telling(board, phase))
        _wrap(TrainStep, "warm_up", _telling_of_compilation(board))


_PHASES = {
    "begin": Phase.FIRST_STEP,
    "save": Phase.SNAPSHOT,
    "evaluate": Phase.EVALUATION,
    "draw": Phase.SAMPLING,
    "settle": Phase.SETTLING,
}


def _telling(board: Board, phase: Phase) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def telling(run: Any, *arguments: Any) -> Any:
            board.tell(phase, run.state.step)
            answer = method(run, *arguments)
            board.tell(Phase.STEP, run.state.step)
            return answer

        return telling

    return wrapped


def _telling_of_compilation(board: Board) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An eager run's first pass only orders buckets: it stays the first step's."""

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def warming(step: Any, *arguments: Any) -> Any:
            if step._compiles:  # noqa: SLF001
                board.tell(Phase.COMPILATION, step.state.step)
            return method(step, *arguments)

        return warming

    return wrapped


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(owner, name, make(getattr(owner, name)))
