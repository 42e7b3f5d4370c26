"""How text reaches people: tables on standard output, remarks on standard error, and nothing that a file could forge.

Names in checkpoints and keys in buckets are other people's text; control characters in them would move the cursor.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_STEP = 1000


class Output(StrEnum):
    """For people or for machines."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table for people; json for machines: one object, stable field names.")
]


def console() -> Console:
    """Return where tables go."""
    return Console(highlight=False, emoji=False, markup=False)


def note(text: str, style: str = "yellow") -> None:
    """Say something beside the result."""
    Console(stderr=True, highlight=False, emoji=False, markup=False).print(
        Text(printable(text), style=style), soft_wrap=True
    )


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one object of `-o json`; ASCII, so that any terminal and any parser take it."""
    typer.echo(json.dumps(document, indent=1))


def is_interactive() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def printable(text: str) -> str:
    """Return `text` with control and other unprintable characters spelled out."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def size_text(count: int) -> str:
    """Return `13.8 GB`; decimal units, as object stores bill them."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < _STEP:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} {_UNITS[-1]}"


def count_text(count: int, singular: str, plural: str | None = None) -> str:
    """Return `1 object` or `3 objects`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
