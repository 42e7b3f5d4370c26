"""What metrics and sanity gate cost the training: as a share of a step, and by a loop that has neither.

Two runs of the same small job take turns in one process: the trainer's own, and the same feed and step without watch,
telemetry, rows of metrics and losses by timestep. The share counts the time inside those calls on the training thread's
own clock, which other programs on the machine cannot stretch; the ratio is the wall clock of one loop against the
other. Both are taken over the first 200 steps, where the gate looks most closely and evaluates twice, and past them.
The evaluation is three forward passes of half a batch; the rest does not grow with the model, so a smaller one
(`--width 16`) tells the same milliseconds sooner.
Run `python bench/gate.py [--steps 200] [--steady-steps 40] [--width 64] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from small_job import PAST_THE_GATE, Case, make_run, write_sources
from t2i_api.spec_training import Precision
from t2i_trainer.step import TrainStep
from t2i_trainer.step_stream import LENGTH, LOSS, NORM
from t2i_trainer.world import make_deterministic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_trainer.train import Run

TURN = 10  # steps of a loop's turn
# A step of SD 1.5 at the speed that the project aims at: 32 pictures of 512 px at 150 images/s on one H200.
LARGE_STEP_SECONDS = 32 / 150


TRAINING, GATE, EVALUATION, METRICS = "training", "gate", "evaluation", "metrics"


class Account:
    """Seconds on one thread's clock by what they were spent on; what is spent within another is not spent twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within: list[str] = []
        self._since = 0.0

    @contextmanager
    def spending(self, name: str) -> Iterator[None]:
        """Count the time inside."""
        self._settle()
        self._within.append(name)
        yield
        self._settle()
        self._within.pop()

    def _settle(self) -> None:
        now = time.thread_time()
        if self._within:
            name = self._within[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


class Counted:
    """Stands before a run's watch: the time of its calls and properties goes to an account."""

    def __init__(self, inner: Any, account: Account) -> None:
        self._inner, self._account = inner, account

    def __getattr__(self, attribute: str) -> Any:
        name = EVALUATION if attribute == "evaluate" else GATE
        with self._account.spending(name):
            found = getattr(self._inner, attribute)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            with self._account.spending(name):
                return found(*arguments, **named)

        return call


class CountedStep(TrainStep):
    """The trainer's step; taking its measures is counted."""

    account: Account

    def _totals(
        self, losses: torch.Tensor, powers: torch.Tensor, timesteps: torch.Tensor, norm: torch.Tensor
    ) -> torch.Tensor:
        with self.account.spending(METRICS):
            return super()._totals(losses, powers, timesteps, norm)


class PlainStep(TrainStep):
    """The step that measures only what decides whether it counts: mean loss and gradient norm."""

    def _totals(
        self, losses: torch.Tensor, powers: torch.Tensor, timesteps: torch.Tensor, norm: torch.Tensor
    ) -> torch.Tensor:
        del powers, timesteps
        totals = torch.zeros(LENGTH, dtype=torch.float64)
        totals[LOSS] = losses.double().sum()
        totals[NORM] = norm
        return totals


class WithEverything:
    """The trainer's loop between saves, as `Run.advance` and the lines around it have it."""

    def __init__(self, run: Run) -> None:
        self._run, self.account = run, Account()
        step = CountedStep(run.configuration.spec, run.world, run.state, run.interruption)
        step.account = self.account
        run.step = step
        watch: Any = Counted(run.watch, self.account)
        run.watch = watch

    def step(self) -> None:
        """Take a step, with all that is looked at beside it."""
        run = self._run
        with self.account.spending(TRAINING):
            run.saver.look()
            run.report.look()
            batch = run.feed.batch(run.state.step)
            run.watch.before(batch)
            run.step.take(batch, run.watch.loss_limit)
            run.watch.after(batch)
            with self.account.spending(METRICS):
                run.hear(run.step.stream.ready())
            if run.watch.is_evaluation_due:
                run.evaluate()


class WithNothing:
    """Feed and step alone."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._step = PlainStep(run.configuration.spec, run.world, run.state, run.interruption)

    def step(self) -> None:
        """Take a step."""
        self._step.take(self._run.feed.batch(self._run.state.step))
        for _ in self._step.stream.ready():
            pass


@dataclass(frozen=True)
class Figures:
    """Means of a step, in seconds; `ratio` is the wall clock with everything over that with nothing, median."""

    steps: int
    training: float
    gate: float
    evaluation: float
    metrics: float
    ratio: float

    @property
    def share(self) -> float:
        """What all of it costs, of a step that has none of it."""
        return (self.gate + self.evaluation + self.metrics) / self.training

    @property
    def share_of_large_step(self) -> float:
        """The same beside a step of `LARGE_STEP_SECONDS`; evaluation grows with the step."""
        return (self.gate + self.metrics) / LARGE_STEP_SECONDS + self.evaluation / self.training


def measure(folder: Path, case: Case, first: int, steps: int, name: str) -> Figures:
    """Let both loops take the `steps` steps after `first`, in turns."""
    everything = WithEverything(make_run(folder, case, name=f"{name}-with", step=first))
    nothing = WithNothing(make_run(folder, case, name=f"{name}-without", step=first))
    ratios = []
    for turn in range(steps // TURN):
        walls = {}
        for loop in (everything, nothing) if turn % 2 else (nothing, everything):
            began = time.perf_counter()
            for _ in range(TURN):
                loop.step()
            walls[type(loop)] = time.perf_counter() - began
        ratios.append(walls[WithEverything] / walls[WithNothing])
        sys.stderr.write(f"{name}: {TURN * (turn + 1)} of {steps} steps, ratio {ratios[-1]:.3f}\n")
    spent = everything.account.seconds
    return Figures(
        steps,
        training=spent[TRAINING] / steps,
        gate=spent[GATE] / steps,
        evaluation=spent.get(EVALUATION, 0.0) / steps,
        metrics=spent[METRICS] / steps,
        ratio=statistics.median(ratios),
    )


def describe(name: str, figures: Figures) -> str:
    """Return the lines for people."""
    gate, evaluation, metrics = (1000 * each for each in (figures.gate, figures.evaluation, figures.metrics))
    return (
        f"{name:26}{1000 * figures.training:7.1f} ms a step; gate {gate:.2f} ms, evaluation {evaluation:.2f} ms, "
        f"metrics {metrics:.2f} ms: {100 * figures.share:.2f} %; wall clock with over without {figures.ratio:.3f}\n"
        f"{'':26}beside a step of {1000 * LARGE_STEP_SECONDS:.0f} ms: {100 * figures.share_of_large_step:.2f} %"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="of the first steps of a run")
    parser.add_argument("--steady-steps", type=int, default=40, help="past the gate")
    parser.add_argument("--width", type=int, default=64, help="of the UNet")
    parser.add_argument("--threads", type=int, default=1, help="more than one and the clock misses the others' work")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    torch.set_num_threads(options.threads)
    make_deterministic(torch.device("cpu"))
    case = Case("latents", Precision.FP32, options.width)
    with tempfile.TemporaryDirectory(prefix="t2i-bench-") as name:
        folder = Path(name)
        write_sources(folder)
        found = {
            "the first steps of a run": measure(folder, case, 0, options.steps, "first"),
            "past the gate": measure(folder, case, PAST_THE_GATE, options.steady_steps, "steady"),
        }
    if options.json:
        sys.stdout.write(json.dumps({name: asdict(each) for name, each in found.items()}) + "\n")
        return
    sys.stdout.write("\n".join(describe(name, each) for name, each in found.items()) + "\n")


if __name__ == "__main__":
    main()
