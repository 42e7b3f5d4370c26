"""`t2i-dev corpus …`: checkpoints of every kind, to look at and to try the command line on."""

import time
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from t2i_dev.corpus.jobs import Task, job_document

app = typer.Typer(
    no_args_is_help=True, help="Checkpoints as real libraries write them, with the verdict each deserves."
)


@app.callback()
def group() -> None:
    """Keep `corpus` a group of commands."""


@app.command("make")
def make_corpus(
    directory: Annotated[Path, typer.Argument(help="Where to: rows/<name>/ is a job's prefix, jobs/ has the jobs.")],
    only: Annotated[str | None, typer.Option(help="Only rows whose name begins so.")] = None,
) -> None:
    """Write the corpus (about a minute), its jobs and corpus.json, which says of each row why.

    Try it: t2i checkpoint verdict DIRECTORY/rows/story-old-unet --job DIRECTORY/jobs/tiny.yaml
    """
    from t2i_dev.corpus.make import INDEX, make  # noqa: PLC0415  # torch and Diffusers: seconds that --help does not pay
    from t2i_dev.corpus.table import ROWS  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    begin = time.monotonic()
    rows = [row for row in ROWS if only is None or row.name.startswith(only)]
    with console.status("writing") as status:
        make(directory / "rows", rows, lambda row: status.update(f"writing {row.name}"))
    (directory / "rows" / INDEX).replace(directory / INDEX)
    write_jobs(directory / "jobs")
    console.print(f"{len(rows)} rows in {directory}, {time.monotonic() - begin:.0f} s")


def write_jobs(directory: Path) -> None:
    """Write a job file a task; `checkpoint.uri` is a placeholder, the command line names the row's own place."""
    directory.mkdir(parents=True, exist_ok=True)
    for task in Task:
        document = job_document(task, "s3://t2i/corpus")
        (directory / f"{task}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
