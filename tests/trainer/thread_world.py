"""A world of many ranks within one process: threads that add up, for what takes too long with real processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from accelerate import Accelerator

from t2i_trainer.world import World

T = TypeVar("T")
_SECONDS = 60


@dataclass
class Meeting:
    """Where the ranks give what they have and take the sum, in the order of ranks."""

    size: int
    barrier: threading.Barrier = field(init=False)
    given: list[torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=_SECONDS)
        self.given = [torch.empty(0)] * self.size

    def add(self, rank: int, values: torch.Tensor) -> torch.Tensor:
        self.given[rank] = values
        self.barrier.wait()
        total = sum(self.given[1:], start=self.given[0].clone())
        self.barrier.wait()
        return values.copy_(total)


@dataclass(frozen=True)
class ThreadRank(World):
    """A rank that is a thread."""

    meeting: Meeting

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Add up in place, as a collective does."""
        return self.meeting.add(self.rank, values)


def on_every_rank(size: int, work: Callable[[World], T]) -> list[T]:
    """Run `work` as each rank of a world of `size`; returns what each gave, in the order of ranks."""
    accelerator, meeting = Accelerator(cpu=True), Meeting(size)

    def run(rank: int) -> T:
        try:
            return work(ThreadRank(accelerator, rank, rank, size, torch.device("cpu"), meeting))
        except BaseException:
            meeting.barrier.abort()  # the others would wait for it
            raise

    with ThreadPoolExecutor(size) as ranks:
        return list(ranks.map(run, range(size)))
