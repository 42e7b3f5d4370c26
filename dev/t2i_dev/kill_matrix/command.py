"""`t2i-dev kill-matrix`: kill training runs at random moments, tell what happened, write docs/kill-matrix.md."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from t2i_dev.s3_server import S3Server

_HEAD = """\
# The kill matrix

Written by `t2i-dev kill-matrix --write` (`make kill-matrix`). A tiny run (20,000 weights, 90 pictures, {steps} steps, a
checkpoint every 4 steps, 2 retained, evaluation every 5, pictures every 6) trains against a real S3 server and is
killed at random moments: each phase in turn, after a random number of steps and a random delay, by SIGKILL or SIGTERM,
of all ranks or of one. The next attempt begins where the survey of the prefix says, as the operator's would. Each
attempt's processes are the trainer's own workers. Beside it runs the same job undisturbed.

The runs are eager, but for those called compiled: a smaller UNet with `training.compile: WholeGraph`, killed while it
compiles, when a random number of its libraries is in the cache or being written. SIGKILL takes the compiler's processes
along. In turn the next attempt finds the cache as it was left, or none.

After every kill and at the end, by code that shares nothing with the trainer's:

- every committed checkpoint that was ever seen is whole (SHA-256 of every file), or was retired in favour of {retain}
  newer whole ones; the survey never goes back behind the newest committed step;
- a stop by SIGTERM left a checkpoint of the step that it met;
- `metrics.jsonl` has each step once, and the samples that the processes themselves wrote down are, over the attempts
  that count, each global index exactly once and each picture exactly once an epoch, whatever the number of processes;
- on the same number of processes loss, gradient norm and learning rate of every step and the last weights, averages
  and moments are those of the undisturbed run, bit for bit; on another number the losses stay within {tolerance} of it.

"""


def kill_matrix(
    write: Annotated[Path | None, typer.Option(help="Write the table there, as Markdown.")] = None,
    scale: Annotated[float, typer.Option(help="Run this share of the 56 kills.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Steps of a run.")] = 90,
    seed: Annotated[int, typer.Option(help="Which random moments.")] = 1,
) -> None:
    """Kill a training run at random moments on 1, 2, 4 and 1 processes; hold what it does against a calm run."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # torch: seconds, and only after the number of its threads is set.
    from t2i_dev.kill_matrix.evidence import TOLERANCE  # noqa: PLC0415
    from t2i_dev.kill_matrix.job import RETAIN, Place  # noqa: PLC0415
    from t2i_dev.kill_matrix.matrix import PLANS, run_plans, table  # noqa: PLC0415

    console, began = Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="t2i-kills-") as scratch, S3Server.start(Path(scratch) / "s3") as server:
        os.environ.update(server.environment())
        place = Place(
            f"s3://{server.bucket}/kills", Path(scratch) / "s3" / "data" / server.bucket / "kills", server.endpoint
        )
        results = run_plans(Path(scratch) / "runs", place, PLANS, steps=steps, seed=seed, scale=scale)
    text = table(results, steps, time.monotonic() - began)
    console.print(text, markup=False, highlight=False)
    if write is not None:
        write.write_text(_HEAD.format(steps=steps, retain=RETAIN, tolerance=TOLERANCE) + text)
    if any(result.faults for result in results):
        sys.exit(1)
