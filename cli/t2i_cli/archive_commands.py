"""`t2i checkpoint archive|restore`: put checkpoints away as the operator does, and bring them back.

The same protocol as in the operator: a kill at any instant loses nothing, and the same command finishes what it began.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.archive import ArchiveIntent, plan_archive, run_archive
from t2i_checkpoint.archive_list import list_archives
from t2i_checkpoint.restore import plan_restore, run_restore
from t2i_checkpoint.store import Store
from t2i_cli.archive_orders import Asked, Finished, Order, finish_begun, order_of, safe_method
from t2i_cli.footnotes import Footnotes, uncut_table
from t2i_cli.locations import EndpointOption, open_root
from t2i_cli.progress_bar import transfer_bar
from t2i_cli.reading import UsageProblem
from t2i_cli.tables import archives_table, cell
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
    order = order_of(Asked(uri, job_file, tuple(folders or ()), method, label, endpoint))
    for other in order.others:
        note(f"{other.name} was begun by another command or the operator, and is left to it", "dim")
    if not order.judgements and not order.begun:
        _show(output, order, None, Finished(), done=True)
        return
    intent = _plan(order, dry_run=dry_run)
    if output is Output.TABLE:
        console().print(_plan_table(intent, order.begun))
    became = Finished()
    if not dry_run:
        _confirm(yes=yes, question="Archive it?")
        with transfer_bar() as report:
            became = finish_begun(order, report)
            if intent is not None:
                run_archive(order.store, intent, report)
    _show(output, order, intent, became, done=not dry_run)


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


def _plan(order: Order, *, dry_run: bool) -> ArchiveIntent | None:
    """Freeze the plan; a store that cannot move safely gets a pointer instead, and the user is told."""
    if not order.judgements:
        return None
    method = order.method if dry_run else safe_method(order.store, order.method)  # trying a store writes to it
    return plan_archive(order.judgements, now=datetime.now(UTC), label=order.label, method=method)


def _plan_table(intent: ArchiveIntent | None, begun: tuple[ArchiveIntent, ...]) -> Group:
    table = uncut_table(("checkpoint", "verdict", "goes to", "why"), numeric=("why",))
    notes = Footnotes()
    for each in (*begun, *([] if intent is None else [intent])):
        for folder in each.folders:
            why = notes.number(cell(folder.explanation))
            table.add_row(cell(folder.folder), cell(folder.verdict), cell(each.root), why)
    lines = [cell(f"begun before, is finished first: {each.name}", "yellow") for each in begun]
    if intent is not None:
        what = f"{count_text(len(intent.entries), 'object')}, {size_text(intent.size_bytes)}, method {intent.method}"
        lines.append(cell(what, "dim"))
    return Group(table, notes.table(), *lines)


def _show(output: Output, order: Order, intent: ArchiveIntent | None, became: Finished, *, done: bool) -> None:
    if output is Output.JSON:
        print_json(
            {
                "uri": order.store.uri,
                "archive": None if intent is None else intent.name,
                "method": None if intent is None else intent.method.value,
                "folders": [] if intent is None else [each.folder for each in intent.folders],
                "sizeBytes": 0 if intent is None else intent.size_bytes,
                "begun": [each.name for each in order.begun],
                "finished": list(became.finished),
                "givenUp": dict(became.given_up),
                "waiting": list(became.waiting),
                "already": dict(order.already),
                "done": done,
            }
        )
        return
    for line in _became(order, became):
        console().print(cell(line), soft_wrap=True)
    if not done:
        console().print("nothing was changed (--dry-run)")
    elif intent is not None:
        console().print(cell(f"archived in {intent.root.rstrip('/')}"))
        console().print(cell(f"undo: t2i checkpoint restore {order.store.uri} --archive {intent.name}"), soft_wrap=True)
    elif not order.begun and not order.already:
        console().print(cell(f"{order.store.uri}: nothing to archive"))


def _became(order: Order, became: Finished) -> list[str]:
    """Return a line for each archive that was there before."""
    lines = [f"{folder} lies in archive/{name} already" for folder, name in order.already.items()]
    lines += [f"finished: archive/{name}" for name in became.finished]
    lines += [f"given up, its checkpoint stays where it is: {name} ({why})" for name, why in became.given_up.items()]
    lines += [
        f"still waiting, for it cannot be judged now or the store is not safe to move on: {name}"
        for name in became.waiting
    ]
    return lines


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
