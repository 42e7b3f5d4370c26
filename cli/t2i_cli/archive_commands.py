"""`t2i checkpoint archive|restore`: put checkpoints away as the operator does, and bring them back.

The same protocol as in the operator: a kill at any instant loses nothing, and the same command finishes what it began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from t2i_api.spec_run import ArchiveMethod, OnIncompatible
from t2i_api.status import VerdictKind
from t2i_checkpoint.archive import ArchiveIntent, plan_archive, run_archive, unfinished_archives
from t2i_checkpoint.archive_list import list_archives
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.choose import Archive, Stop, choose
from t2i_checkpoint.inspect import Judgement, survey, survey_location
from t2i_checkpoint.probe import probe
from t2i_checkpoint.restore import plan_restore, run_restore
from t2i_checkpoint.store import Store
from t2i_checkpoint.verdict import Wanted
from t2i_checkpoint.wanted import wanted_from
from t2i_cli.footnotes import Footnotes, uncut_table
from t2i_cli.locations import EndpointOption, open_root
from t2i_cli.progress_bar import transfer_bar
from t2i_cli.reading import UsageProblem, read_job
from t2i_cli.tables import archives_table, cell, place
from t2i_cli.terminal import Output, OutputOption, console, count_text, is_interactive, note, print_json, size_text

RootArgument = Annotated[
    str | None,
    typer.Argument(metavar="URI", help="The job's checkpoint.uri; default: as --job says.", show_default=False),
]
JobOption = Annotated[
    Path | None,
    typer.Option("--job", metavar="FILE", help="Archive what cannot fit this job.", show_default=False),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


class RefusedError(UsageProblem):
    """What was asked for would not be safe; nothing was changed."""

    exit_code = 3


@dataclass(frozen=True)
class _Policy:
    """What the command line says of the way of archiving; None: as the job says."""

    method: ArchiveMethod | None
    label: str | None


@dataclass(frozen=True)
class _Order:
    """What to archive and how; `wanted` where a job chose it. `unfinished` is what an earlier process began."""

    store: Store
    unfinished: tuple[ArchiveIntent, ...]
    judgements: tuple[Judgement, ...]
    method: ArchiveMethod
    label: str | None
    wanted: Wanted | None = None


def archive(  # noqa: PLR0913  # one parameter an option
    uri: RootArgument = None,
    *,
    job_file: JobOption = None,
    folders: Annotated[
        list[str] | None,
        typer.Option("--folder", metavar="NAME", help="Archive this checkpoint whatever it is; may be repeated."),
    ] = None,
    method: Annotated[
        ArchiveMethod | None,
        typer.Option(
            help="Move copies, verifies and deletes; Reference leaves the bytes and writes a pointer. "
            "Default: the job's, else Move; Reference where the store cannot move safely.",
            case_sensitive=False,
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Last part of the archive's name. Default: what the checkpoint is.")
    ] = None,
    endpoint: EndpointOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move checkpoints below archive/, whole and verified; every byte is at the source or in the archive at any time.

    With --job exactly those that the operator would archive. Stop it whenever you like: the same command goes on.
    Restore undoes it.

    Examples:
    t2i checkpoint archive --job job.yaml --dry-run
    t2i checkpoint archive s3://bucket/jobs/emoji --folder checkpoints/checkpoint-00005000 --label custom-unet

    Exit status: 0 done, or nothing to do; 3 refused, nothing lost; 4 the store cannot be read or written.
    """
    order = _order(uri, job_file, tuple(folders or ()), _Policy(method, label), endpoint)
    if not order.judgements and not order.unfinished:
        _show(output, order, None, done=True)
        return
    intent = _plan(order, dry_run=dry_run)
    if output is Output.TABLE:
        console().print(_plan_table(intent, order.unfinished))
    if not dry_run:
        _confirm(yes=yes, question="Archive it?")
        _carry_out(order, intent)
    _show(output, order, intent, done=not dry_run)


def restore(  # noqa: PLR0913  # one parameter an option
    uri: Annotated[str, typer.Argument(metavar="URI", help="The job's checkpoint.uri, below which archive/ lies.")],
    *,
    archive_name: Annotated[
        str | None,
        typer.Option("--archive", metavar="NAME", help="Which archive, e.g. 20251214T221758Z-custom-unet."),
    ] = None,
    endpoint: EndpointOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Copy an archive's checkpoints back to where they lay; nothing is ever overwritten, the archive stays whole.

    Example: t2i checkpoint restore s3://bucket/jobs/emoji --archive 20251214T221758Z-custom-unet

    Exit status: 0 done; 3 refused (something else lies there now), nothing lost; 4 the store cannot be used.
    """
    store = open_root(uri, endpoint)
    if archive_name is None:
        raise UsageProblem(_which_archive(store, uri))
    intent = plan_restore(store, archive_name)
    folders = [each.folder for each in intent.manifest.folders]
    if output is Output.TABLE:
        console().print(cell(f"{intent.name}: {size_text(intent.size_bytes)} back to {', '.join(folders)}"))
    if not dry_run:
        _confirm(yes=yes, question="Copy it back?")
        with transfer_bar() as report:
            run_restore(store, intent, report)
    if output is Output.JSON:
        size = intent.size_bytes
        print_json({"uri": uri, "archive": intent.name, "folders": folders, "sizeBytes": size, "done": not dry_run})
    else:
        console().print("nothing was changed (--dry-run)" if dry_run else "restored; the archive is kept")


def _order(
    uri: str | None, job_file: Path | None, folders: tuple[str, ...], policy: _Policy, endpoint: str | None
) -> _Order:
    job = None if job_file is None else read_job(job_file)
    if job is None and not folders:
        raise UsageProblem("say what to archive: --job FILE for what cannot fit that job, or --folder NAME")
    root = job.spec.checkpoint.uri if uri is None and job is not None else uri
    if root is None:
        raise UsageProblem("name the checkpoint URI: t2i checkpoint archive URI --folder NAME")
    store = open_root(root, endpoint, job)
    unfinished = tuple(unfinished_archives(store))
    if job is None:
        judgements = _named(store, folders)
        return _Order(store, unfinished, judgements, policy.method or ArchiveMethod.MOVE, policy.label)
    wanted = wanted_from(job.spec)
    judgements = _named(store, folders) if folders else _unfit(store, wanted)
    begun = {folder.folder for intent in unfinished for folder in intent.folders}
    left = tuple(each for each in judgements if each.folder not in begun)
    asked = job.spec.checkpoint.archive
    return _Order(store, unfinished, left, policy.method or asked.method, policy.label or asked.label, wanted)


def _unfit(store: Store, wanted: Wanted) -> tuple[Judgement, ...]:
    """Return what the operator would archive under its default policy; refuses as it does where something blocks."""
    choice = choose(survey(store, wanted), OnIncompatible.ARCHIVE)
    if isinstance(choice, Stop):
        raise RefusedError(choice.message)
    return choice.judgements if isinstance(choice, Archive) else ()


def _named(store: Store, folders: tuple[str, ...]) -> tuple[Judgement, ...]:
    found = {place(each): each for each in survey_location(store, None).judgements}
    names = {each.name: each for each in found.values()}
    chosen = []
    for folder in folders:
        judgement = found.get(folder.strip("/")) or names.get(folder.strip("/"))
        if judgement is None:
            there = ", ".join(found) or "none"
            raise UsageProblem(f"--folder {folder}: no such checkpoint below {store.uri}; there are: {there}")
        chosen.append(_requested(judgement))
    return tuple(chosen)


def _requested(judgement: Judgement) -> Judgement:
    """Say that a person, and no comparison, sends it away; what could not be read keeps its verdict and is refused."""
    verdict = judgement.verdict
    if verdict.kind in {VerdictKind.UNREADABLE, VerdictKind.INCOMPLETE}:
        return judgement
    what = verdict.stored_model or judgement.label
    asked = replace(verdict, kind=VerdictKind.FOREIGN, reason="ArchivedOnRequest", explanation=f"on request: {what}")
    return replace(judgement, verdict=asked)


def _plan(order: _Order, *, dry_run: bool) -> ArchiveIntent | None:
    """Freeze the plan; a store that cannot move safely gets a pointer instead, and the user is told."""
    if not order.judgements:
        return None
    method = order.method
    if method is ArchiveMethod.MOVE and not dry_run:  # trying a store writes to it
        abilities = probe(order.store)
        method = abilities.safe_method
        if (warning := abilities.warning(order.method)) is not None:
            note(f"warning: {warning}")
    return plan_archive(order.judgements, now=datetime.now(UTC), label=order.label, method=method)


def _carry_out(order: _Order, intent: ArchiveIntent | None) -> None:
    with transfer_bar() as report:
        if order.wanted is not None:
            finish_archives(order.store, order.wanted, report)
        else:
            for begun in order.unfinished:
                run_archive(order.store, begun, report)
        if intent is not None:
            run_archive(order.store, intent, report)


def _plan_table(intent: ArchiveIntent | None, unfinished: tuple[ArchiveIntent, ...]) -> Group:
    table = uncut_table(("checkpoint", "verdict", "goes to", "why"), numeric=("why",))
    notes = Footnotes()
    for each in (*unfinished, *([] if intent is None else [intent])):
        for folder in each.folders:
            why = notes.number(cell(folder.explanation))
            table.add_row(cell(folder.folder), cell(folder.verdict), cell(each.root), why)
    lines = [cell(f"begun before, is finished first: {each.name}", "yellow") for each in unfinished]
    if intent is not None:
        what = f"{count_text(len(intent.entries), 'object')}, {size_text(intent.size_bytes)}, method {intent.method}"
        lines.append(cell(what, "dim"))
    return Group(table, notes.table(), *lines)


def _show(output: Output, order: _Order, intent: ArchiveIntent | None, *, done: bool) -> None:
    if output is Output.JSON:
        print_json(
            {
                "uri": order.store.uri,
                "archive": None if intent is None else intent.name,
                "method": None if intent is None else intent.method.value,
                "folders": [] if intent is None else [each.folder for each in intent.folders],
                "sizeBytes": 0 if intent is None else intent.size_bytes,
                "finished": [each.name for each in order.unfinished],
                "done": done,
            }
        )
    elif not done:
        console().print("nothing was changed (--dry-run)")
    elif intent is not None:
        console().print(cell(f"archived in {intent.root.rstrip('/')}"))
        console().print(cell(f"undo: t2i checkpoint restore {order.store.uri} --archive {intent.name}"), soft_wrap=True)
    elif not order.unfinished:
        console().print(cell(f"{order.store.uri}: nothing to archive"))


def _confirm(*, yes: bool, question: str) -> None:
    if yes:
        return
    if not is_interactive():
        raise UsageProblem("nobody is there to answer: pass --yes to do it, or --dry-run to see what would be done")
    if not typer.confirm(question, err=True):
        note("nothing was changed")
        raise typer.Exit(1)


def _which_archive(store: Store, uri: str) -> str:
    archives = [archive for archive in list_archives(store) if archive.restorable]
    if not archives:
        return f"{uri} has no archive that could be restored"
    console().print(archives_table(archives))
    return f"say which: t2i checkpoint restore {uri} --archive {archives[0].name}"
