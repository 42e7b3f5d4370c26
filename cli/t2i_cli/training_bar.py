"""A training run on a terminal: one line with step, loss, speed and time left; the log goes by above it.

Where nobody watches there is no bar, and the trainer's own lines (one in ten seconds) tell the same.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from t2i_cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

    from t2i_api.progress import Progress as Report

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SAVING = "saving a checkpoint, then stopping; Ctrl-C again stops at once and loses what came since the last one"
# Reports come twice a second: a first step may have been taken that we know nothing of.
_STOPPING = "stopping, after a checkpoint if a step has been taken by now; Ctrl-C again stops at once"


class TrainingBar:
    """What a run says, drawn as it comes."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._stopping = False
        self._has_trained = False

    def show(self, report: Report) -> None:
        """Draw a report of rank 0."""
        self._has_trained = report.step > (report.resumed_from_step or 0)
        self._progress.update(
            self._task,
            total=report.target_steps,
            completed=max(report.step, report.resumed_from_step or 0),
            description="Stopping" if self._stopping else report.phase.value,
            measures=measures_text(report),
        )

    def log(self, line: str) -> None:
        """Let a line of the trainer's log go by."""
        self._progress.console.print(Text(printable(line)), soft_wrap=True)

    def stopping(self) -> None:
        """Say that Ctrl-C was understood."""
        self._stopping = True
        self._progress.update(self._task, description="Stopping")
        self._progress.console.print(Text(_SAVING if self._has_trained else _STOPPING, style="yellow"), soft_wrap=True)


@contextmanager
def training_bar(steps: int) -> Iterator[TrainingBar]:
    """Yield what `train_here` reports to."""
    console = Console(stderr=True, highlight=False, emoji=False, markup=False)
    columns = (
        TextColumn("{task.description:<8}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[measures]}", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, redirect_stdout=False) as progress:
        yield TrainingBar(progress, progress.add_task("Starting", total=steps, measures=""))


def measures_text(report: Report) -> str:
    """Return `loss 0.0312, 41.2 images/s, 3:07 left`, or what is known of it."""
    parts = []
    loss = report.loss_smoothed if report.loss_smoothed is not None else report.loss
    if loss is not None:
        parts.append(f"loss {loss:.4f}")
    if report.images_per_second is not None:
        parts.append(f"{report.images_per_second:.1f} images/s")
    if report.eta_seconds is not None:
        parts.append(f"{clock_text(report.eta_seconds)} left")
    return ", ".join(parts)


def clock_text(seconds: float) -> str:
    """Return `3:07`, `2:03:07` or `4 d 2:03:07`."""
    whole = round(seconds)
    minutes = f"{whole % _HOUR // _MINUTE}:{whole % _MINUTE:02d}"
    if whole < _HOUR:
        return minutes
    hours = f"{whole % _DAY // _HOUR}:{whole % _HOUR // _MINUTE:02d}:{whole % _MINUTE:02d}"
    return hours if whole < _DAY else f"{whole // _DAY} d {hours}"
