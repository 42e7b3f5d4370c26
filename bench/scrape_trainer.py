"""What being scraped costs a training process: processor time of a scrape, and the pace with and without.

The trainer's own loop, telemetry and HTTP server, and a scraper in a process of its own, as Prometheus is. All that a
scrape does in the trainer's process is processor time there, and can hold up a step by that much at most: counted over
many scrapes in a row it is exact on any machine. The pace itself is measured in turns, scraped and not, so that
whatever else the machine does hits both alike. Run `python bench/scrape_trainer.py [--turns 5] [--json]`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from small_job import Case, make_run, write_sources
from t2i_api.spec_training import Precision
from t2i_dev.ports import free_ports
from t2i_trainer.http_server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_trainer.train import Run

WARM_UP_STEPS = 20
SCRAPES_IN_A_ROW = 300
# A client in a process of its own: GET, read all, sleep; a scrape that fails ends it.
_SCRAPER = """
import sys, time, urllib.request
url, interval = sys.argv[1], float(sys.argv[2])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
count = int(sys.argv[3])
while count != 0:
    with opener.open(url, timeout=30) as answer:
        answer.read()
    count -= 1
    time.sleep(interval)
"""


@dataclass(frozen=True)
class TrainerFigures:
    """Seconds, but for `page_bytes`; paces in the order of the turns, alone and scraped side by side."""

    interval: float
    page_bytes: int
    processor_seconds_a_scrape: float
    alone: list[float]
    scraped: list[float]

    @property
    def bound(self) -> float:
        """Share of the time by which scrapes can slow training at most: all of their processor time, on one core."""
        return self.processor_seconds_a_scrape / self.interval

    @property
    def slowdowns(self) -> list[float]:
        """How much longer a step took in each scraped turn than in the turn before."""
        return [scraped / alone - 1 for alone, scraped in zip(self.alone, self.scraped, strict=True)]


def measure(folder: Path, *, interval: float, turns: int, turn_seconds: float) -> TrainerFigures:
    """Train the small job of the benchmarks in turns, then scrape it many times in a row."""
    write_sources(folder)
    run = make_run(folder, Case("pixels", Precision.FP32))
    (port,) = free_ports(1)
    server = serve(run.telemetry, port, "127.0.0.1")
    if server is None:
        raise OSError(f"port {port} is taken")
    url = f"http://127.0.0.1:{port}/metrics"
    for _ in range(WARM_UP_STEPS):
        run.advance()
    alone, scraped = [], []
    for turn in range(turns):
        alone.append(_pace(run, turn_seconds))
        with _scraping(url, interval):
            scraped.append(_pace(run, turn_seconds))
        sys.stderr.write(f"turn {turn + 1} of {turns}: {alone[-1]:.4f} s a step, scraped {scraped[-1]:.4f} s\n")
    cost = _processor_seconds_a_scrape(url)
    server.shutdown()
    return TrainerFigures(interval, len(run.telemetry.exposition()), cost, alone, scraped)


def describe(figures: TrainerFigures) -> str:
    """Return the lines for people."""
    median = statistics.median(figures.slowdowns)
    low, high = min(figures.slowdowns), max(figures.slowdowns)
    return (
        f"a scrape of a trainer ({figures.page_bytes / 1000:.1f} kB) takes "
        f"{1000 * figures.processor_seconds_a_scrape:.2f} ms of processor time in its process: every "
        f"{figures.interval:g} s at most {100 * figures.bound:.3f} % of step time (goal: 0.5 % or less)\n"
        f"a step took {statistics.median(figures.alone):.4f} s alone, {statistics.median(figures.scraped):.4f} s "
        f"scraped; {len(figures.alone)} turns each, {100 * median:+.2f} % ({100 * low:+.2f} to {100 * high:+.2f} %)"
    )


def _pace(run: Run, seconds: float) -> float:
    """Return the mean time of a step over so many seconds."""
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        run.advance()
        steps += 1
    return (time.perf_counter() - began) / steps


@contextmanager
def _scraping(url: str, interval: float) -> Iterator[None]:
    scraper = subprocess.Popen([sys.executable, "-c", _SCRAPER, url, str(interval), "-1"])
    try:
        yield
    finally:
        if scraper.poll() is not None:
            raise OSError(f"the scraper ended with exit status {scraper.returncode}")
        scraper.kill()
        scraper.wait()


def _processor_seconds_a_scrape(url: str) -> float:
    """Return this process's processor time for one scrape, while it does nothing else."""
    began = time.process_time()
    subprocess.run([sys.executable, "-c", _SCRAPER, url, "0", str(SCRAPES_IN_A_ROW)], check=True)
    return (time.process_time() - began) / SCRAPES_IN_A_ROW


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="turns of each kind")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a turn")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two scrapes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(prefix="t2i-bench-") as folder:
        figures = measure(Path(folder), interval=options.interval, turns=options.turns, turn_seconds=options.seconds)
    told = json.dumps(dataclasses.asdict(figures), indent=1) if options.json else describe(figures)
    sys.stdout.write(told + "\n")


if __name__ == "__main__":
    main()
