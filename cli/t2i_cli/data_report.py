"""How `t2i data` shows itself: a bar while it works, then a table or one JSON object."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from t2i_cli.terminal import printable, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from t2i_trainer.data.encode import Encoded
    from t2i_trainer.data.encode_progress import EncodeProgress


@contextmanager
def encode_bar() -> Iterator[Callable[[EncodeProgress], None]]:
    """Yield what an encoding reports to; silent where nobody watches."""
    columns = (
        TextColumn("encoding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, highlight=False)
    lock = threading.Lock()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("encoding", total=None, speed="")

        def report(news: EncodeProgress) -> None:
            with lock:
                progress.update(task, completed=news.samples, total=news.usable, speed=_speed_text(news))

        yield report


def encoded_document(uri: str, encoded: Encoded) -> dict[str, Any]:
    """Return what `-o json` prints; sizes in bytes, times in seconds."""
    index, news = encoded.index, encoded.progress
    return {
        "uri": uri,
        "content": index.recipe.content,
        "samples": index.samples,
        "shards": len(index.shards),
        "bytes": sum(shard.size for shard in index.shards),
        "resolution": index.recipe.resolution,
        "broken": index.broken_count,
        "brokenSamples": list(encoded.broken),
        "samplesFromEarlierRun": news.kept,
        "seconds": round(news.seconds, 3),
        "imagesPerSecond": round(news.samples_per_second, 3),
        "bytesWritten": news.bytes_written,
    }


def encoded_table(uri: str, encoded: Encoded) -> Table:
    """Return the same for people."""
    index, news = encoded.index, encoded.progress
    table = Table("what", "value", title=printable(uri))
    kind = f"{index.recipe.content.lower()} of {index.recipe.resolution} x {index.recipe.resolution} pictures"
    table.add_row("samples", f"{index.samples:,} ({kind})")
    table.add_row("shards", f"{len(index.shards):,}, {size_text(sum(shard.size for shard in index.shards))}")
    if news.kept:
        table.add_row("already there", f"{news.kept:,} samples")
    if index.broken_count:
        table.add_row("left out", f"{index.broken_count:,} broken samples")
    table.add_row("speed", f"{news.samples_per_second:.1f} images/s, {news.seconds:.1f} s")
    return table


def _speed_text(news: EncodeProgress) -> str:
    broken = f", {news.broken} broken" if news.broken else ""
    return f"{news.samples_per_second:.1f} images/s{broken}"
