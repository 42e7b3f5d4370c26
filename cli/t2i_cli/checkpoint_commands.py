"""`t2i checkpoint …`: judge what lies in a job's prefix, exactly as the operator's preflight does; changes nothing."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from t2i_checkpoint.inspect import Judgement, survey
from t2i_checkpoint.open import open_store
from t2i_checkpoint.wanted import wanted_from
from t2i_cli.reading import read_job

app = typer.Typer(no_args_is_help=True, help="Checkpoints in a bucket or folder.")


class Output(StrEnum):
    """For people or for machines."""

    TABLE = "table"
    JSON = "json"


@app.callback()
def group() -> None:
    """Keep `checkpoint` a group of commands: more will follow."""


@app.command()
def verdict(
    job_file: Annotated[Path, typer.Option("--job", help="The job that the checkpoints are held against.")],
    uri: Annotated[str | None, typer.Argument(help="s3://…, file://…; by default the job's checkpoint.uri.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="S3 server; by default the job's checkpoint.endpoint.")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json.")] = Output.TABLE,
) -> None:
    """Say of each checkpoint whether it fits the job. Credentials: as boto3 finds them, e.g. AWS_ACCESS_KEY_ID.

    Exit status: 0 one can be resumed, or none is there; 3 none can be resumed; 4 the store cannot be read.
    """
    job = read_job(job_file)
    store = open_store(uri or job.spec.checkpoint.uri, endpoint=endpoint or job.spec.checkpoint.endpoint)
    found = survey(store, wanted_from(job.spec))
    if output is Output.JSON:
        typer.echo(json.dumps([_document(judgement) for judgement in found.judgements], indent=1))
    else:
        _print(found.judgements, f"{store.uri}: {found.requests} requests, {found.bytes_read} bytes read")
    if found.judgements and found.resumable is None:
        raise typer.Exit(3)


def _document(judgement: Judgement) -> dict[str, Any]:
    verdict = judgement.verdict
    return {
        "folder": judgement.folder,
        "step": judgement.step,
        "verdict": verdict.kind.value,
        "reason": verdict.reason,
        "explanation": verdict.explanation,
        "matched": verdict.matched,
        "missing": len(verdict.missing),
        "unexpected": len(verdict.unexpected),
        "mismatched": len(verdict.mismatched),
        "matchedParameterShare": verdict.matched_parameter_share,
    }


def _print(judgements: tuple[Judgement, ...], caption: str) -> None:
    table = Table("folder", "step", "verdict", "why", caption=caption)
    for judgement in judgements:
        table.add_row(
            judgement.folder, str(judgement.step), judgement.verdict.kind.value, judgement.verdict.explanation
        )
    Console().print(table)
