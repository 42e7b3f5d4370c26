"""For how long training stands still for a save: ours against `accelerate.save_state` and an upload of the same state.

Weights, EMA and AdamW's moments of one UNet, the same objects for both, in turn over a real S3 server on loopback. The
baseline blocks until its last file is uploaded; ours until the snapshot is taken, and the time until its commit is told
beside. Then training steps are timed with and without an upload under way. Run `python bench/save.py [--json]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from save_two_ways import TwoSavers
from t2i_dev.s3_server import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024**2


@dataclass(frozen=True)
class Figures:
    """Seconds but for `state_bytes` and the two steps per second; lists in the order of the rounds."""

    state_bytes: int
    ours_first: float
    ours_blocked: list[float]
    ours_until_commit: list[float]
    accelerate_saved: list[float]
    accelerate_uploaded: list[float]
    step_alone: float
    step_during_upload: float

    @property
    def share(self) -> float:
        """Our blocked time as a share of the baseline's, medians."""
        baseline = [a + b for a, b in zip(self.accelerate_saved, self.accelerate_uploaded, strict=True)]
        return statistics.median(self.ours_blocked) / statistics.median(baseline)


def pace(step: Callable[[], None], seconds: float, goes_on: Callable[[], bool] = lambda: True) -> float:
    """Return the median time of a step over some seconds, or for as long as something goes on."""
    times: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until and (goes_on() or not times):
        began = time.monotonic()
        step()
        times.append(time.monotonic() - began)
    return statistics.median(times)


def measure(rounds: int, width: int) -> Figures:
    """Alternate both ways to save, then time steps alone and beside an upload."""
    with (
        tempfile.TemporaryDirectory(prefix="t2i-bench-") as folder,
        S3Server.start(Path(folder) / "s3") as server,
        TwoSavers(server, Path(folder), width) as bench,
    ):
        first, _ = bench.ours()
        bench.accelerate()
        ours, accelerate = [], []
        for _ in range(rounds):
            ours.append(bench.ours())
            accelerate.append(bench.accelerate())
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(pace(bench.step, 5))
            bench.hand_over()
            beside.append(pace(bench.step, 60, lambda: not bench.saver.is_idle))
            bench.saver.settle()
        return Figures(
            state_bytes=bench.state_bytes,
            ours_first=first,
            ours_blocked=[blocked for blocked, _ in ours],
            ours_until_commit=[total for _, total in ours],
            accelerate_saved=[saved for saved, _ in accelerate],
            accelerate_uploaded=[uploaded for _, uploaded in accelerate],
            step_alone=statistics.median(alone),
            step_during_upload=statistics.median(beside),
        )


def describe(figures: Figures) -> str:
    """Return the table for people."""
    median = statistics.median
    baseline = median(figures.accelerate_saved) + median(figures.accelerate_uploaded)
    slower = figures.step_during_upload / figures.step_alone - 1
    return "\n".join(
        [
            f"state {figures.state_bytes / MIB:.0f} MiB, medians of {len(figures.ours_blocked)} rounds",
            (
                f"accelerate.save_state + boto3   {baseline:8.3f} s blocked "
                f"({median(figures.accelerate_saved):.3f} s + {median(figures.accelerate_uploaded):.3f} s)"
            ),
            (
                f"t2i                             {median(figures.ours_blocked):8.3f} s blocked, committed after "
                f"{median(figures.ours_until_commit):.3f} s; the first save of a run {figures.ours_first:.3f} s"
            ),
            f"blocked time                    {100 * figures.share:8.1f} % of the baseline's (goal: 5 % or less)",
            (
                f"a training step                 {1000 * figures.step_alone:8.1f} ms alone, "
                f"{1000 * figures.step_during_upload:.1f} ms while uploading: {100 * slower:.0f} % slower"
            ),
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=96, help="of the UNet; 96: 27 M weights, 0.4 GiB of state")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.rounds, options.width)
    if options.json:
        print(json.dumps({**figures.__dict__, "share": figures.share}, indent=1))  # noqa: T201
    else:
        print(describe(figures))  # noqa: T201


if __name__ == "__main__":
    main()
