"""Bytes that move, as a bar with speed and time left; silent where nobody watches."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from t2i_cli.terminal import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.archive_progress import ArchiveProgress, ProgressCallback

_MINUTE = 60


@contextmanager
def transfer_bar() -> Iterator[ProgressCallback]:
    """Yield what `run_archive` and `run_restore` report to; a bar of its own for each stage."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[objects]}"),
        TextColumn("{task.fields[speed]}"),
    )
    console = Console(stderr=True, highlight=False)
    lock = threading.Lock()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, object] = {}

        def report(news: ArchiveProgress) -> None:
            with lock:
                if news.stage not in tasks:
                    tasks[news.stage] = progress.add_task(news.stage, total=None, objects="", speed="")
                progress.update(
                    tasks[news.stage],  # type: ignore[arg-type]  # rich's TaskID is an int by another name
                    total=max(news.bytes_total, 1),
                    completed=news.bytes_done if news.bytes_total else 1,
                    objects=f"{news.objects_done}/{news.objects_total} objects",
                    speed=speed_text(news),
                )

        yield report


def speed_text(news: ArchiveProgress) -> str:
    """Return `112.0 MB/s, 2:05 left`, or what is known of it."""
    parts = []
    if news.bytes_per_second > 0:
        parts.append(f"{size_text(round(news.bytes_per_second))}/s")
    if news.eta_seconds:
        minutes, seconds = divmod(round(news.eta_seconds), _MINUTE)
        parts.append(f"{minutes}:{seconds:02d} left")
    return ", ".join(parts)
