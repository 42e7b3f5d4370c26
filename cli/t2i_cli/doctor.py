"""`t2i doctor`: does this store keep the promises that checkpoints rely on? Tried, not believed."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.probe import StoreAbilities, probe
from t2i_cli.documents import abilities_document
from t2i_cli.locations import EndpointOption, open_root
from t2i_cli.tables import cell
from t2i_cli.terminal import Output, OutputOption, console, print_json

DEGRADED = 3
_PROMISES = {
    "conditional_create": ("If-None-Match on PUT", "a manifest or intent is never written twice"),
    "conditional_create_under_race": ("the same, many writers at once", "two archivers or trainers cannot both win"),
    "copy_source_condition": ("condition on a copy's source", "what was judged is what is copied"),
    "multipart_copy": ("copy in parts", "checkpoints above 5 GiB can be moved"),
    "conditional_complete": ("If-None-Match on multipart uploads", "a big object never replaces another"),
    "conditional_delete": ("If-Match on DELETE", "a file that was replaced meanwhile is spared"),
    "delete_takes_effect": ("deletion takes effect", "what is gone is gone at the next look"),
    "full_object_checksum": ("checksums over whole objects", "copies are verified without reading them back"),
    "ranged_reads": ("ranged reads", "kilobytes are read of gigabytes"),
    "list_after_write": ("listing after writing", "a listing shows what is really there"),
}


def doctor(
    storage: Annotated[
        str, typer.Option("--storage", metavar="URI", help="A place that may be written to: s3://bucket/prefix.")
    ],
    endpoint: EndpointOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Try what a store really honours, and say which way of archiving is safe on it.

    Some stores take a condition and ignore it. About 40 small objects are written below .t2i-probe/ and removed again.

    Example: t2i doctor --storage s3://bucket/jobs/emoji --endpoint https://minio.example:9000

    Exit status: 0 everything that a move needs is honoured; 3 archive by Reference only; 4 the store cannot be used.
    """
    store = open_root(storage, endpoint)
    started = time.monotonic()
    abilities = probe(store)
    promises = _promises(abilities)
    if output is Output.JSON:
        print_json(abilities_document(storage, abilities, promises))
    else:
        console().print(_report(storage, abilities, promises, time.monotonic() - started))
    if abilities.safe_method is not ArchiveMethod.MOVE:
        raise typer.Exit(DEGRADED)


def _promises(abilities: StoreAbilities) -> dict[str, bool]:
    found = {field.name: getattr(abilities, field.name) for field in dataclasses.fields(abilities)}
    return {name: value for name, value in found.items() if isinstance(value, bool)}


def _report(uri: str, abilities: StoreAbilities, promises: dict[str, bool], seconds: float) -> Group:
    table = Table("promise", "kept", "what relies on it")
    for name, kept in promises.items():
        what, why = _PROMISES.get(name, (name.replace("_", " "), ""))
        table.add_row(what, Text("yes" if kept else "no", style="green" if kept else "red"), why)
    notes = [cell(f"- {note}") for note in (*abilities.reasons, *abilities.notes)]
    safe = abilities.safe_method is ArchiveMethod.MOVE
    verdict = "checkpoints can be moved safely" if safe else "checkpoints are archived by Reference: bytes stay put"
    return Group(table, *notes, cell(f"{uri}: {verdict} ({seconds:.1f} s)", "green" if safe else "yellow"))
