"""Long sentences below a table, each once, so that names and places in it are never cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable


class Footnotes:
    """Numbers distinct texts from 1, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts: list[Text] = []

    def number(self, text: Text) -> str:
        """Return the number that stands in the table for this text; empty for an empty text."""
        if not text.plain:
            return ""
        if text.plain not in self._numbers:
            self._numbers[text.plain] = len(self._texts) + 1
            self._texts.append(text)
        return str(self._numbers[text.plain])

    def table(self) -> Table:
        """Return what goes below."""
        table = Table.grid(padding=(0, 2))
        for position, text in enumerate(self._texts, start=1):
            table.add_row(str(position), text)
        return table


def uncut_table(columns: Iterable[str], numeric: Iterable[str] = ()) -> Table:
    """Return a table whose cells are folded where the terminal is narrow, never cut; `numeric` columns stand right."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    right = set(numeric)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
    return table
