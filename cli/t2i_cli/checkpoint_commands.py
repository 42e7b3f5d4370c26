"""`t2i checkpoint ls|inspect|verdict`: look at what lies in a bucket, exactly as the operator does; changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import VerdictKind
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.archive_list import list_archives
from t2i_checkpoint.choose import Archive, Choice, Stop, choose
from t2i_checkpoint.choose import decisive as decisive_of
from t2i_checkpoint.inspect import Judgement, Survey, read_folder, survey, survey_location
from t2i_checkpoint.open import Location
from t2i_checkpoint.tensors import architecture_of_table
from t2i_checkpoint.wanted import wanted_from
from t2i_cli import archive_commands
from t2i_cli.documents import inspection_document, listing_document, verdict_document
from t2i_cli.initial_weights import survey_initial_weights
from t2i_cli.locations import URI_HELP, EndpointOption, UriArgument, open_named
from t2i_cli.reading import UsageProblem, read_job
from t2i_cli.tables import cell, differing_tensors, inspection_report, listing_tables, verdict_report
from t2i_cli.terminal import Output, OutputOption, console, note, print_json

NOT_RESUMABLE, UNREADABLE = 3, 4

app = typer.Typer(
    no_args_is_help=True,
    help="Checkpoints in a bucket or folder: look, judge, put away, bring back.",
    epilog="Only headers are read, kilobytes of gigabytes, and nothing in a checkpoint is ever executed. Credentials "
    "are found as boto3 finds them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role.",
)


@app.command("ls")
def list_checkpoints(uri: UriArgument, endpoint: EndpointOption = None, output: OutputOption = Output.TABLE) -> None:
    """List checkpoints and archives: step, who wrote it, size, and what model it is.

    Example: t2i checkpoint ls s3://bucket/jobs/emoji

    Exit status: 0; 4 if the store cannot be read.
    """
    location = open_named(uri, endpoint)
    found = _look(location, None)
    archives = () if location.key is not None else list_archives(location.store)
    if output is Output.JSON:
        print_json(listing_document(uri, found, archives))
    else:
        console().print(listing_tables(found, archives, uri))


@app.command()
def inspect(uri: UriArgument, endpoint: EndpointOption = None, output: OutputOption = Output.TABLE) -> None:
    """Say everything about one checkpoint: model, tensors, EMA, optimizer, meaning, objects.

    URI is a checkpoint folder or file; for a job's root the newest checkpoint is shown.

    Example: t2i checkpoint inspect ./v1-5-pruned.safetensors

    Exit status: 0; 3 if nothing is there; 4 if it, or the store, cannot be read.
    """
    found = _look(open_named(uri, endpoint), None)
    newest = next(iter(found.judgements), None)
    if newest is None:
        raise _NothingThereError(f"{uri}: no checkpoint is there; t2i checkpoint ls shows what a prefix holds")
    if output is Output.JSON:
        print_json(inspection_document(uri, newest, found))
    else:
        console().print(inspection_report(newest, found, uri))
        if len(found.judgements) > 1:
            note(f"{len(found.judgements) - 1} older ones are not shown: t2i checkpoint ls {uri}", "dim")
    if newest.verdict.kind is VerdictKind.UNREADABLE:
        raise typer.Exit(UNREADABLE)


@app.command()
def verdict(
    job_file: Annotated[
        Path, typer.Option("--job", metavar="FILE", help="The job that is judged for: a DiffusionTrainingJob in YAML.")
    ],
    uri: Annotated[
        str | None,
        typer.Argument(metavar="URI", help=f"{URI_HELP} Default: the job's checkpoint.uri.", show_default=False),
    ] = None,
    endpoint: EndpointOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say whether a job can go on from what lies there, and if not, why, and what happens then.

    identical: resumed exactly. renamed: converted on load. partial: most parameters agree. inference-only, adapter:
    weights without the state of a run. foreign: another model, archived. incomplete: skipped. unreadable: left alone.

    Example: t2i checkpoint verdict s3://bucket/jobs/emoji --job job.yaml -o json

    Exit status: 0 resumable, or nothing is there; 3 not resumable; 4 unreadable (checkpoint or store); 2 wrong usage.
    """
    job = read_job(job_file)
    named = uri or job.spec.checkpoint.uri
    location = open_named(named, endpoint, job)
    found = _look(location, job)
    choice = _choose(found, job, endpoint)
    decisive = decisive_judgement(found, choice)
    if output is Output.JSON:
        print_json(verdict_document(named, found, decisive, choice))
    elif decisive is None:
        console().print(cell(f"{named}: there is no checkpoint; training begins at step 0"), soft_wrap=True)
    else:
        differing = _differing(location, decisive, job)
        console().print(verdict_report(decisive, found, choice, named, differing))
    raise typer.Exit(exit_status(decisive, choice))


def decisive_judgement(found: Survey, choice: Choice) -> Judgement | None:
    """Return the checkpoint that the answer is about; one that fits also where older ones are archived beside it."""
    if isinstance(choice, Archive) and found.resumable is not None:
        return found.resumable
    return decisive_of(found, choice)


def exit_status(decisive: Judgement | None, choice: Choice) -> int:
    """Return 0 for a resume and for an empty prefix, 4 for what could not be read, else 3."""
    if decisive is None:
        return NOT_RESUMABLE if isinstance(choice, Stop) else 0
    if decisive.verdict.kind is VerdictKind.UNREADABLE:
        return UNREADABLE
    return 0 if decisive.verdict.resumable else NOT_RESUMABLE


class _NothingThereError(UsageProblem):
    exit_code = NOT_RESUMABLE


def _look(location: Location, job: DiffusionTrainingJob | None) -> Survey:
    if job is None:
        return survey_location(location.store, None, location.key)
    try:
        wanted = wanted_from(job.spec)
    except ValueError as error:
        raise UsageProblem(f"model.unet: {error}") from error
    if location.key is None and location.store.uri == job.spec.checkpoint.uri.rstrip("/"):
        return survey(location.store, wanted)  # the very look of operator and trainer
    return survey_location(location.store, wanted, location.key)


def _differing(location: Location, decisive: Judgement, job: DiffusionTrainingJob) -> Table | None:
    """Look once more, for people: a judgement keeps names that differ, not the shapes of what is only stored."""
    wanted, verdict = wanted_from(job.spec), decisive.verdict
    stored = Architecture([])
    if verdict.unexpected:
        stored = architecture_of_table(read_folder(location.store, decisive.folder, wanted)[1].weights)
    return differing_tensors(verdict, stored, wanted.architecture)


def _choose(found: Survey, job: DiffusionTrainingJob, endpoint: str | None) -> Choice:
    initial = survey_initial_weights(job, endpoint) if found.resumable is None else None
    return choose(found, job.spec.checkpoint.on_incompatible, initial)


app.command()(archive_commands.archive)
app.command()(archive_commands.restore)
