"""`t2i ema ls|reconstruct`: the width of the weights' average, chosen after the training."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from t2i_checkpoint.ema_snapshots import StoredProfile, stored_profiles
from t2i_checkpoint.power_average import WIDEST
from t2i_cli.locations import EndpointOption, UriArgument, open_root
from t2i_cli.reading import UsageProblem
from t2i_cli.terminal import Output, OutputOption, console, note, print_json, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LARGE_ERROR = 0.05

app = typer.Typer(
    no_args_is_help=True,
    help="Averages of the weights (EMA): see which are there, and make one of another width after the training.",
    epilog="A job keeps them where training.ema.powerWidths names widths, e.g. [0.05, 0.10] (Karras et al. 2024).",
)


@app.command("ls")
def list_profiles(uri: UriArgument, endpoint: EndpointOption = None, output: OutputOption = Output.TABLE) -> None:
    """List the averages that a job has kept: step, width, size.

    Example: t2i ema ls s3://bucket/jobs/emoji

    Exit status: 0; 4 if the store cannot be read.
    """
    profiles = stored_profiles(open_root(uri, endpoint))
    if output is Output.JSON:
        rows = [{"step": each.step, "width": each.width, "key": each.key, "bytes": each.size} for each in profiles]
        print_json({"uri": uri, "profiles": rows})
        return
    table = Table("STEP", "WIDTH", "SIZE", "WHERE")
    for each in profiles:
        table.add_row(f"{each.step:,}", f"{each.width:g}", size_text(each.size), each.key)
    console().print(table)
    if not profiles:
        note(f"{uri} holds none: training.ema.powerWidths says which are kept while a job trains")


@app.command()
def reconstruct(
    uri: UriArgument,
    width: Annotated[float, typer.Option(help="Relative width sigma_rel of the average. Examples: 0.07, 0.15.")],
    to: Annotated[Path, typer.Option(help="New folder for the UNet, as Diffusers reads it.")],
    step: Annotated[int | None, typer.Option(help="Step whose average is made. Default: the newest.")] = None,
    endpoint: EndpointOption = None,
) -> None:
    """Make the average of any width from those that a job has kept, as a Diffusers UNet folder.

    Example: t2i ema reconstruct s3://bucket/jobs/emoji --width 0.15 --to unet-0.15

    Draw with it: DiffusionPipeline.from_pretrained(model, unet=UNet2DConditionModel.from_pretrained("unet-0.15"))

    Exit status: 0; 2 for a mistake; 4 if the store cannot be read or a snapshot is damaged.
    """
    if not 0 < width <= WIDEST:
        raise UsageProblem(f"--width {width:g}: a relative width lies in (0, {WIDEST:.4f}]; 0.05 to 0.25 are usual")
    if to.exists():
        raise UsageProblem(f"{to} is there already: name a new folder")
    store = open_root(uri, endpoint)
    profiles = _until(stored_profiles(store), step, uri)
    wanted = profiles[-1].step if step is None else step
    module = _trainer_part()
    with _bar() as report:
        try:
            found = module.reconstruct(store, profiles, step=wanted, width=width, folder=to, progress=report)
        except BaseException:
            module.discard(to)
            raise
    console().print(
        f"{to}: the average of width {width:g} at step {wanted:,}, from {len(profiles)} kept ones, "
        f"{100 * found.error:.2f} % off the exact one"
    )
    if found.error > _LARGE_ERROR:
        note("that is far off: the kept averages are too few or too far apart for this width; take one nearer to them")


def _until(profiles: tuple[StoredProfile, ...], step: int | None, uri: str) -> tuple[StoredProfile, ...]:
    if not profiles:
        raise UsageProblem(f"{uri} holds no averages to make one of: training.ema.powerWidths says which are kept")
    chosen = tuple(each for each in profiles if step is None or each.step <= step)
    if not chosen or (step is not None and chosen[-1].step < step):
        there = sorted({each.step for each in profiles})
        raise UsageProblem(f"--step {step}: averages are there at {', '.join(map(str, there[-8:]))}")
    return chosen


def _trainer_part() -> Any:
    """Import what needs torch, which only this command does."""
    try:
        return importlib.import_module("t2i_trainer.ema_reconstruct")
    except ImportError as error:
        raise UsageProblem(
            f"this needs the trainer's libraries ({error.name}): install t2i-operator[trainer]"
        ) from error


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Yield what bytes read are reported to; silent where nobody watches."""
    terminal = Console(stderr=True, highlight=False)
    columns = (TextColumn("snapshots"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("snapshots", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
