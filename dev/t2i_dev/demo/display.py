"""What the demo prints while it waits: a progress bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from t2i_api.status import JobStatus
from t2i_dev.demo.acts import Watcher

LINE_SECONDS = 5.0


@dataclass(slots=True)
class _Lines:
    """For a log: at most one line in five seconds."""

    console: Console
    last: float = field(default=0.0)

    def show(self, status: JobStatus) -> None:
        now = time.monotonic()
        if status.progress is None or now - self.last < LINE_SECONDS:
            return
        self.last = now
        self.console.print(f"  {describe(status)}")


def describe(status: JobStatus) -> str:
    """One line: attempt, step, loss, ETA."""
    progress, attempt = status.progress, status.attempt
    if progress is None:
        return status.message
    return (
        f"attempt {attempt.number if attempt else '-'}  step {progress.step}/{progress.target_steps}  "
        f"loss {progress.loss_text or '-'}  saved {progress.last_checkpoint_step or '-'}  ETA {progress.eta or '-'}"
    )


@contextmanager
def training_display(console: Console) -> Iterator[Watcher]:
    """Yield a function that shows each status."""
    if not console.is_terminal:
        yield _Lines(console).show
        return
    columns = (
        TextColumn("  attempt {task.fields[attempt]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  ETA {task.fields[eta]}"),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=console) as bar:
        task = bar.add_task("training", total=None, attempt="-", loss="-", eta="-")

        def show(status: JobStatus) -> None:
            if status.progress is None:
                return
            bar.update(
                task,
                completed=status.progress.step,
                total=status.progress.target_steps,
                attempt=status.attempt.number if status.attempt else "-",
                loss=status.progress.loss_text or "-",
                eta=status.progress.eta or "-",
            )

        yield show
