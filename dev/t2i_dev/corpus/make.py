"""Writes the corpus: a folder a row, the jobs that rows are held against, and an index that says why."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import torch

from t2i_dev.corpus.row import Row
from t2i_dev.corpus.table import ROWS

INDEX: Final = "corpus.json"


def make(directory: Path, rows: Iterable[Row] = ROWS, on_row: Callable[[Row], None] = lambda _: None) -> None:
    """Write every row into `directory`/<name>; what an earlier call left under the same name is replaced."""
    torch.set_num_threads(1)
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    index = []
    for row in rows:
        on_row(row)
        shutil.rmtree(directory / row.name, ignore_errors=True)
        (directory / row.name).mkdir()
        row.build(directory / row.name)
        index.append(describe(row))
    (directory / INDEX).write_text(json.dumps(index, indent=1) + "\n")


def describe(row: Row) -> dict[str, str | None]:
    """Return a row as the index shows it."""
    return {
        "name": row.name,
        "why": row.why,
        "job": row.job.value,
        "verdict": None if row.verdict is None else row.verdict.value,
        "reason": row.reason,
        "then": row.then.value,
    }
