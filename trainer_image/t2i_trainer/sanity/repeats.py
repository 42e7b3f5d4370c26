"""Whether a run sees a batch again that it has seen, as after a resume that forgot its place."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from t2i_api.findings import Finding, FindingName, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_trainer.data.feed import Batch

_NUMBERS = 64
# A step is heard before the one after the next begins.
_PLACES = 2


class BatchMarks:
    """Takes a mark of each batch: 16 hex digits that two share if their first samples drew the same noise and timestep.

    On a GPU the numbers are copied beside the work and read once the step was heard, so that the host never waits.
    """

    def __init__(self, device: torch.device) -> None:
        on_cuda = device.type == "cuda"
        self._noise = [torch.empty(_NUMBERS, pin_memory=on_cuda) for _ in range(_PLACES)]
        self._timesteps = [torch.empty(1, dtype=torch.int64, pin_memory=on_cuda) for _ in range(_PLACES)]
        self._held: dict[int, int] = {}

    def hold(self, step: int, batch: Batch) -> None:
        """Begin to copy what makes the mark of a step's batch."""
        place = step % _PLACES
        noise = batch.noise[0].flatten()[:_NUMBERS]
        self._noise[place][: len(noise)].copy_(noise, non_blocking=True)
        self._timesteps[place].copy_(batch.timesteps[:1], non_blocking=True)
        self._held[step] = len(noise)

    def read(self, step: int) -> str | None:
        """Return the mark of a step that was heard; None where it was not held, or read before."""
        count = self._held.pop(step, None)
        if count is None:
            return None
        place = step % _PLACES
        noise = self._noise[place][:count].numpy().tobytes()
        return hashlib.blake2b(noise + str(int(self._timesteps[place])).encode(), digest_size=8).hexdigest()


class RepeatCheck:
    """Knows the mark of every step of the run, those of earlier attempts from its metrics. Pure."""

    def __init__(self, seen: Mapping[int, str]) -> None:
        self._steps = {mark: step for step, mark in seen.items()}
        self._told = False

    def observe(self, step: int, mark: str) -> list[Finding]:
        """Take in the mark of a step's batch."""
        before = self._steps.setdefault(mark, step)
        if before >= step or self._told:
            return []
        self._told = True
        text = (
            f"step {step} trains on the very samples and noise of step {before}: the run's position in the data was "
            "lost, most likely by a resume, and some samples are seen twice while others are never seen. Look at how "
            "the feed is told its step"
        )
        return [Finding(name=FindingName.REPEATED_DATA, severity=Severity.ERROR, step=step, sentence=text)]
