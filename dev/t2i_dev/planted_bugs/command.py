"""`t2i-dev planted-bugs`: a table of what was planted and which tests noticed."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from t2i_dev.errors import DevelopmentError
from t2i_dev.paths import repository_root
from t2i_dev.planted_bugs.catalogue import BUGS
from t2i_dev.planted_bugs.planting import PlantedBug, Verdict, copy_tree, expect_green, judge

_SAID_CHARACTERS = 110


def planted_bugs(
    *,
    only: Annotated[str, typer.Option(help="Plant only bugs whose name contains this.")] = "",
) -> None:
    """Plant known mistakes into a copy of the tree, one by one; the tests must turn red for each (minutes)."""
    bugs = [bug for bug in BUGS if only in bug.name]
    if not bugs:
        raise DevelopmentError(f"no planted bug is called {only!r}: {', '.join(bug.name for bug in BUGS)}")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="planted-bugs-") as directory:
        tree = Path(directory)
        copy_tree(repository_root(), tree)
        console.print("the tests on the code as it is …")
        expect_green(tree, bugs)
        console.print("green; now with bugs …")
        verdicts = {bug.name: _told(console, tree, bug) for bug in bugs}
    console.print(_table(bugs, verdicts))
    unnoticed = [name for name, verdict in verdicts.items() if not verdict.red]
    if unnoticed:
        raise DevelopmentError(f"no test noticed: {', '.join(unnoticed)}")


def _told(console: Console, tree: Path, bug: PlantedBug) -> Verdict:
    started = time.monotonic()
    verdict = judge(tree, bug)
    word = "noticed" if verdict.red else "[red]NOT NOTICED[/red]"
    console.print(f"  {bug.name}: {word} ({time.monotonic() - started:.0f} s)")
    return verdict


def _table(bugs: list[PlantedBug], verdicts: dict[str, Verdict]) -> Table:
    table = Table("planted bug", "would", "tests", "they say", title=f"{len(bugs)} planted bugs")
    for bug in bugs:
        verdict = verdicts[bug.name]
        tests = ", ".join(test.rpartition("/")[2].partition("::")[2] or test for test in bug.tests)
        said = verdict.said[:_SAID_CHARACTERS]
        table.add_row(bug.name, bug.why, tests, said if verdict.red else f"[red]green: {said}[/red]")
    return table
