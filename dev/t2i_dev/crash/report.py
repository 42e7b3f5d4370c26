"""`t2i-dev crash-matrix`: run the whole matrix, print it as a table, write `docs/crash-matrix.md`."""

import multiprocessing
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from t2i_dev.crash.laboratory import Cell, Laboratory
from t2i_dev.crash.matrix import cells, row_named
from t2i_dev.crash.stores import TestedStore
from t2i_dev.crash.suites import SUITES
from t2i_dev.errors import DevelopmentError
from t2i_dev.s3_server import S3Server

_ROWS_A_TASK = 6
_HEAD = """\
# The crash matrix

Written by `t2i-dev crash-matrix --write` (`make crash-matrix`), every cell. `make test` runs a sample of every row
(each tenth place, beginning elsewhere in each row); `make test-exhaustive` kills at each side effect and strikes each
third one with every other fault.

A cell is one life of a client under one fault at one of its side effects, and the lives after it. The client is a real
process (killed and stopped by real signals), the store is a real S3 server, and the fault proxy between them numbers
the side effects as they come: they are enumerated, not guessed. After **every** side effect of every life a reader
that shares no code with the client looks at the whole bucket:

- each committed checkpoint is byte-equal at its source or in a committed archive, whose manifest tells the truth;
- whatever has a manifest is whole;
- no key outside the plan was named by a request, changed or created; neighbours whose names begin alike are canaries.

In the end the bucket must be what a run without faults leaves, and no multipart upload with parts may be left open.
One thing is allowed: a process that cannot see what another one does (it was stopped, or was shown an old listing) may
archive the same bytes a second time under its own name.

| fault | what happens to the request |
|---|---|
| killed before / after | SIGKILL before it is executed / after it, its answer never delivered |
| request lost, answer lost | the connection is cut before / after it is executed |
| timeout | silence, not executed / executed; the client gives up and tries again |
| 409, 412, 500, 503 SlowDown | answered so, not executed; "500, executed": executed all the same |
| 503 from here on | this and every later request of that life |
| 200 with error | an error in the body of a 200 (copies, completions, per key in DeleteObjects), not executed |
| delivered twice, again when done | executed twice at once; executed again after the client ended |
| stale list | a listing (each one, then all) shows the bucket as it was at the beginning |
| a file appears, a source is replaced, the copy is damaged | somebody else writes right after it |
| stopped before / after | SIGSTOP; a second client runs to its end; SIGCONT, and the request goes on |
| killed, restart sees stale lists; killed, restart killed | two faults in a row |
| one effect a life | every process dies after its first successful side effect |
"""


@dataclass(frozen=True)
class SuiteResult:
    """All cells of a suite, by row."""

    name: str
    story: str
    effects: int
    rows: dict[str, list[Cell]]

    @property
    def cells(self) -> list[Cell]:
        """Of all rows."""
        return [cell for row in self.rows.values() for cell in row]


def crash_matrix(
    *,
    only: Annotated[str, typer.Option(help="Run only suites whose name begins so.")] = "",
    jobs: Annotated[int, typer.Option(help="Processes at once, each with an S3 server of its own.")] = 2,
    write: Annotated[Path | None, typer.Option(help="Write the table here, e.g. docs/crash-matrix.md.")] = None,
) -> None:
    """Run every side effect of save, archive and restore through every fault, on the real S3 server (minutes)."""
    started = time.monotonic()
    console = Console()
    results: dict[str, SuiteResult] = {}
    # Spawned: a forked child of a pool would inherit the other children's servers.
    with ProcessPoolExecutor(max_workers=jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        tasks = [pool.submit(_run, name, rows) for name, rows in _tasks(only)]
        for (name, rows), task in zip(_tasks(only), tasks, strict=True):
            found = task.result()
            known = results.get(name)
            results[name] = replace(found, rows={**known.rows, **found.rows}) if known else found
            console.print(f"{name}: {', '.join(rows)}: {len(found.cells)} cells, {_red(found.cells)} red")
    every = [cell for result in results.values() for cell in result.cells]
    seconds = time.monotonic() - started
    console.print(f"{len(every)} cells in {seconds:.0f} s, {_red(every)} red")
    if write is not None:
        write.write_text(_document(results, datetime.now(UTC)))
    if _red(every):
        raise DevelopmentError("\n".join(f"{cell.plan}: {cell.problems[0]}" for cell in every if cell.problems))


def _tasks(only: str) -> list[tuple[str, tuple[str, ...]]]:
    """Cut the suites into pieces of a few rows, so that the processes end together."""
    return [
        (name, suite.rows[start : start + _ROWS_A_TASK])
        for name, suite in SUITES.items()
        if name.startswith(only)
        for start in range(0, len(suite.rows), _ROWS_A_TASK)
    ]


def _run(name: str, rows: tuple[str, ...]) -> SuiteResult:
    with (
        tempfile.TemporaryDirectory(prefix="crash-") as directory,
        S3Server.start(Path(directory) / "s3") as server,
        Laboratory(TestedStore.of(server)) as laboratory,
    ):
        (scratch := Path(directory) / "scratch").mkdir()
        scenario = SUITES[name].make(laboratory, scratch)
        effects = len(laboratory.reference(scenario).effects)
        found = {row: list(cells(laboratory, scenario, row_named(row))) for row in rows}
        return SuiteResult(scenario.name, scenario.story, effects, found)


def _red(found: Iterable[Cell]) -> int:
    return sum(bool(cell.problems) for cell in found)


def _document(results: dict[str, SuiteResult], at: datetime) -> str:
    return "\n".join([_HEAD, f"This is the run of {at:%Y-%m-%d}.", "", *_scenarios(results), "", *_table(results), ""])


def _scenarios(results: dict[str, SuiteResult]) -> Iterator[str]:
    yield "| scenario | what happens | side effects | cells | looks at the bucket | red |"
    yield "|---|---|---|---|---|---|"
    for result in results.values():
        looks = sum(cell.instants for cell in result.cells)
        counted = f"{result.effects} | {len(result.cells)} | {looks} | {_red(result.cells)}"
        yield f"| {result.name} | {result.story} | {counted} |"
    every = [cell for result in results.values() for cell in result.cells]
    looks = sum(cell.instants for cell in every)
    yield f"| **all** | | | **{len(every)}** | **{looks}** | **{_red(every)}** |"


def _table(results: dict[str, SuiteResult]) -> Iterator[str]:
    yield "Cells that held, of all cells; empty where the fault cannot meet the scenario."
    yield ""
    yield "| fault | " + " | ".join(result.name for result in results.values()) + " |"
    yield "|---|" + "---|" * len(results)
    names = dict.fromkeys(row for suite in SUITES.values() for row in suite.rows)
    for name in names:
        yield f"| {name} | " + " | ".join(_held(result.rows.get(name, [])) for result in results.values()) + " |"


def _held(found: list[Cell]) -> str:
    return f"{sum(not cell.problems for cell in found)}/{len(found)}" if found else ""
