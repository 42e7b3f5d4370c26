"""`t2i-dev planted-faults`: plant mistakes into training runs, tell which were named, write docs/planted-faults.md."""

import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from t2i_dev.errors import DevelopmentError

_HEAD = """\
# Planted faults

Written by `t2i-dev planted-faults --write` (`make planted-faults`). Each fault is planted into the trainer's own worker
processes: one function is replaced, or batches are spoiled on their way, so that everything behind it runs as always.
The job learns 90 captioned pictures by a UNet of 0.2 M weights in {steps} steps of 32 pictures, with one thread a
process and {at_once} runs at once, so that times depend on what else the machine does. A fault counts as named if the
run itself says the finding that names it, within {most_steps} steps or {most_seconds} s; the run is ended then. "Said
beside it" is what it said before. The sentence is the log's; the report page, the job's status and its events repeat
it, and `t2i_trainer_findings_total` counts it by name.

What this does not show: faults in runs whose effect is slower than 200 steps, such as captions that are wrong for one
picture in ten, or captions shuffled in a set so large that no picture is seen 45 times.

"""


def planted_faults(
    write: Annotated[Path | None, typer.Option(help="Write the table there, as Markdown.")] = None,
    only: Annotated[str, typer.Option(help="Only faults and healthy runs whose name contains this.")] = "",
    at_once: Annotated[int, typer.Option(help="Runs beside each other.", min=1)] = 2,
) -> None:
    """Plant known mistakes into small training runs: each must be named, and healthy runs must say nothing."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # torch: seconds, and only after the number of its threads is set.
    from t2i_dev.planted_faults.catalogue import FAULTS, HEALTHY, HealthyRun, PlantedFault  # noqa: PLC0415
    from t2i_dev.planted_faults.job import STEPS  # noqa: PLC0415
    from t2i_dev.planted_faults.laboratory import Laboratory, Ran  # noqa: PLC0415
    from t2i_dev.planted_faults.report import MOST_SECONDS, MOST_STEPS, Outcome, table  # noqa: PLC0415

    faults = [fault for fault in FAULTS if only in fault.name]
    runs = [run for run in HEALTHY if only in run.name]
    everything: list[PlantedFault | HealthyRun] = [*faults, *runs]
    if not everything:
        raise DevelopmentError(f"no fault and no healthy run is called {only!r}")
    console, began = Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="t2i-faults-") as scratch, ThreadPoolExecutor(at_once) as pool:
        laboratory = Laboratory.at(Path(scratch))

        def run_one(which: PlantedFault | HealthyRun) -> Ran:
            folder = re.sub(r"[^A-Za-z0-9]+", "-", which.name)
            if isinstance(which, PlantedFault):
                ran = laboratory.run(folder, which.setting, plant=which.plant, until=which.finding)
            else:
                ran = laboratory.run(folder, which.setting)
            said = ", ".join(f"{each.name} at {each.step}" for each in ran.said) or "nothing"
            console.print(f"  {which.name}: {said} ({ran.seconds:.0f} s)", highlight=False, soft_wrap=True)
            return ran

        results = list(pool.map(run_one, everything))
    outcomes = [Outcome(fault, ran) for fault, ran in zip(faults, results[: len(faults)], strict=True)]
    healthy = list(zip(runs, results[len(faults) :], strict=True))
    text = table(outcomes, healthy, (time.monotonic() - began) / 60)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    if write is not None:
        head = _HEAD.format(steps=STEPS, at_once=at_once, most_steps=MOST_STEPS, most_seconds=MOST_SECONDS)
        write.write_text(head + text)
    if any(outcome.named is None for outcome in outcomes) or any(ran.said for _, ran in healthy):
        sys.exit(1)
