"""The way of a step's measures from the device to the host: copied without waiting, read one step late.

The host launches step n + 1 before it reads step n, so the device never idles for it. A CPU has nothing to wait for,
but keeps the same order, so that both behave alike.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from t2i_trainer.step_result import QUARTILES, StepResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Its constructor carries no types.
_EVENT: Any = cast("Any", torch.cuda.Event)

# Places in the vector of a step, float64: sums over all ranks, then what this rank adds of its own.
LOSS, NORM, STOPS, QUARTILE_LOSSES, QUARTILE_POWERS, QUARTILE_COUNTS = 0, 1, 2, 3, 3 + QUARTILES, 3 + 2 * QUARTILES
SUMMED = 3 + 3 * QUARTILES
OWN_NORM, SKIPPED = SUMMED, SUMMED + 1
LENGTH = SUMMED + 2
# One step runs while another waits to be read; a third place would never be used.
_PLACES = 2


@dataclass(frozen=True)
class _Pending:
    step: int
    learning_rate: float
    values: torch.Tensor
    passes: tuple[tuple[_Mark, _Mark], ...]  # beginning and end of each forward pass
    end: _Mark


class _Mark:
    """A moment on the device's clock."""

    def __init__(self, device: torch.device) -> None:
        self._event = _EVENT(enable_timing=True) if device.type == "cuda" else None
        self._at = time.monotonic()
        if self._event is not None:
            self._event.record()

    def wait(self) -> None:
        if self._event is not None:
            self._event.synchronize()

    def seconds_since(self, earlier: _Mark) -> float:
        """Return the time between two marks, both of which have come."""
        if self._event is not None and earlier._event is not None:
            return float(earlier._event.elapsed_time(self._event)) / 1000
        return self._at - earlier._at


class StepStream:
    """Results in the order of their steps; every rank reads the same ones at the same place of its loop."""

    def __init__(self, device: torch.device, *, global_batch_size: int, world_size: int) -> None:
        self._device = device
        self._batch = global_batch_size
        self._world_size = world_size
        on_cuda = device.type == "cuda"
        self._places = [torch.empty(LENGTH, dtype=torch.float64, pin_memory=on_cuda) for _ in range(_PLACES)]
        self._pending: deque[_Pending] = deque()
        self._passes: list[tuple[_Mark, _Mark]] = []
        self._before = _Mark(device)

    def restart_clock(self) -> None:
        """Count the time of the next step from now on: saves and pictures are not part of it."""
        self._before = _Mark(self._device)

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """Measure a forward pass of the next step to be pushed; the host waits for nothing."""
        began = _Mark(self._device)
        yield
        self._passes.append((began, _Mark(self._device)))

    def push(self, step: int, learning_rate: float, totals: torch.Tensor) -> None:
        """Send the vector of a step just launched on its way; the one before must have been read up to one."""
        values = self._places[step % _PLACES]
        values.copy_(totals, non_blocking=True)
        self._pending.append(_Pending(step, learning_rate, values, tuple(self._passes), _Mark(self._device)))
        self._passes.clear()

    def ready(self) -> Iterator[StepResult]:
        """Read every step but the newest."""
        while len(self._pending) > 1:
            yield self._read(self._pending.popleft())

    def drain(self) -> Iterator[StepResult]:
        """Read every step, which waits for the device."""
        while self._pending:
            yield self._read(self._pending.popleft())

    def _read(self, pending: _Pending) -> StepResult:
        pending.end.wait()
        values = pending.values.tolist()
        before, self._before = self._before, pending.end
        loss, norm = values[LOSS] / self._batch, values[NORM] / self._world_size
        counts = values[QUARTILE_COUNTS:SUMMED]
        powers = values[QUARTILE_POWERS:QUARTILE_COUNTS]
        return StepResult(
            step=pending.step,
            loss=loss,
            gradient_norm=norm,
            own_gradient_norm=values[OWN_NORM],
            learning_rate=pending.learning_rate,
            finite=math.isfinite(loss) and math.isfinite(norm),
            skipped=values[SKIPPED] > 0,
            quartile_losses=_means(values[QUARTILE_LOSSES:QUARTILE_POWERS], counts),
            quartile_powers=_means(powers, counts),
            target_power=sum(powers) / self._batch,
            seconds=pending.end.seconds_since(before),
            forward_seconds=sum(end.seconds_since(began) for began, end in pending.passes),
            wants_stop=values[STOPS] > 0,
        )


def _means(sums: Sequence[float], counts: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(total / count if count else None for total, count in zip(sums, counts, strict=True))
