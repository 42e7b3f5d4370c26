"""The operator's processor time at many jobs, scraped and not: a real operator on a real API server.

Every job has come to its end with everything in its status that the operator exports, so what is left is what the
operator does by itself (its lease, its watch, its resync) and what scrapes cost. Measured in turns, scraped and not.
Run `python bench/scrape_operator.py [--jobs 1000] [--turns 5] [--seconds 30] [--json]`.
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
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from t2i_dev.cluster import LocalCluster
from t2i_dev.paths import repository_root
from t2i_dev.ports import free_ports
from t2i_dev.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "default"
JOBS = f"/apis/training.t2i.dev/v1alpha1/namespaces/{NAMESPACE}/diffusiontrainingjobs"
ENOUGH_SECONDS = 600.0
CREATORS = 4
# As in the operator's image (docs/decisions/0080).
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}
AT = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class OperatorFigures:
    """Processor seconds a minute in the order of the turns; the page's size; the time until a scrape was answered."""

    jobs: int
    interval: float
    page_bytes: int
    answer_seconds: float
    alone: list[float]
    scraped: list[float]
    memory_bytes: int


def measure(folder: Path, *, jobs: int, interval: float, turns: int, turn_seconds: float) -> OperatorFigures:
    """Create the jobs, start an operator, and let it be scraped in every second turn."""
    with LocalCluster.start("bench-scrape", node=False, with_owner=True) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(repository_root() / "crds"))
        wait_until(lambda: cluster.client.get(JOBS) is not None, "the new kind", timeout_seconds=60)
        with ThreadPoolExecutor(CREATORS) as pool:
            list(pool.map(lambda number: _create(cluster, number), range(jobs)))
        with _operator(cluster, folder) as (process, url):
            wait_until(
                lambda: _page(url).count(b"\nt2i_job_gpus{") == jobs, "every job", timeout_seconds=ENOUGH_SECONDS
            )
            began = time.perf_counter()
            page = _page(url)
            answered = time.perf_counter() - began
            _settle(process)
            alone, scraped = [], []
            for turn in range(turns):
                alone.append(_spent(process, url, turn_seconds, None))
                scraped.append(_spent(process, url, turn_seconds, interval))
                sys.stderr.write(
                    f"turn {turn + 1} of {turns}: {alone[-1]:.2f} s/min alone, scraped {scraped[-1]:.2f}\n"
                )
            return OperatorFigures(jobs, interval, len(page), answered, alone, scraped, process.memory_info().rss)


def describe(figures: OperatorFigures) -> str:
    """Return the lines for people."""
    alone, scraped = statistics.median(figures.alone), statistics.median(figures.scraped)
    scrapes = 60 / figures.interval
    return (
        f"the operator at {figures.jobs} jobs spends {alone:.2f} s of processor time a minute alone and "
        f"{scraped:.2f} s scraped every {figures.interval:g} s: {1000 * (scraped - alone) / scrapes:.0f} ms a scrape, "
        f"{100 * (scraped - alone) / 60:.2f} % of a core\n"
        f"its page has {figures.page_bytes / 1e6:.2f} MB and came after {1000 * figures.answer_seconds:.0f} ms; "
        f"{figures.memory_bytes / 1e6:.0f} MB resident"
    )


@contextmanager
def _operator(cluster: LocalCluster, folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "t2i_operator.main", "--kubeconfig", str(cluster.kubeconfig)),
        *("--namespace", NAMESPACE, "--lease-namespace", NAMESPACE, "--identity", "bench"),
        *("--metrics-host", "127.0.0.1", "--metrics-port", str(port)),
    ]
    url = f"http://127.0.0.1:{port}/metrics"
    with (folder / "operator.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **ALLOCATOR})
    try:
        wait_until(lambda: b"t2i_operator_leader 1" in _page(url), "it leads", timeout_seconds=ENOUGH_SECONDS)
        yield psutil.Process(process.pid), url
    finally:
        process.terminate()
        process.wait()


def _page(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=60) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def _spent(process: psutil.Process, url: str, seconds: float, interval: float | None) -> float:
    """Return processor seconds a minute over so many seconds, scraped every `interval` or not at all."""
    began, before = time.monotonic(), _processor(process)
    while (left := began + seconds - time.monotonic()) > 0:
        if interval is not None:
            _page(url)
        time.sleep(min(left, interval or left))
    return (_processor(process) - before) * 60 / (time.monotonic() - began)


def _settle(process: psutil.Process) -> None:
    """Wait until the operator has looked at every job: two seconds in which it does next to nothing."""

    def is_quiet() -> bool:
        before = _processor(process)
        time.sleep(2)
        return _processor(process) - before < 0.1  # noqa: PLR2004  # of two seconds

    wait_until(is_quiet, "a quiet operator", timeout_seconds=ENOUGH_SECONDS)


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _create(cluster: LocalCluster, number: int) -> None:
    name = f"job-{number:04d}"
    spec = {
        "model": {
            "unet": {"preset": "tiny"},
            "textEncoder": {"uri": "s3://t2i/models/minilm"},
            "pixelUnshuffleFactor": 2,
        },
        "data": {"uri": "s3://t2i/data/emoji", "resolution": 32},
        "training": {"steps": 1000, "globalBatchSize": 32, "learningRate": 0.001},
        "checkpoint": {"uri": f"s3://t2i/{name}", "everySteps": 100},
    }
    about = {"apiVersion": "training.t2i.dev/v1alpha1", "kind": "DiffusionTrainingJob"}
    # Both may be repeated: a busy API server answers late.
    for attempt in Retrying(retry=retry_if_exception_type(OSError), stop=stop_after_attempt(5), reraise=True):
        with attempt:
            cluster.client.apply(f"{JOBS}/{name}", {**about, "metadata": {"name": name}, "spec": spec})
            cluster.client.merge(f"{JOBS}/{name}/status", {"status": _status()})


def _status() -> dict[str, Any]:
    """Return the status of a job that came to its end after a restart, with findings and an archive."""
    reasons = {
        "CheckpointCompatible": ("True", "Archived"),
        "Admitted": ("True", "Admitted"),
        "Running": ("False", "Completed"),
        "Suspended": ("False", "NotSuspended"),
        "AsExpected": ("False", "LearningRate"),
        "Succeeded": ("True", "Completed"),
    }
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": "said", "lastTransitionTime": AT}
        for kind, (status, reason) in reasons.items()
    ]
    return {
        "observedGeneration": 1,
        "conditions": conditions,
        "gpus": 8,
        "checkpoint": {"verdict": "foreign", "reason": "Foreign", "judgedForAttempt": 1, "judgedAt": AT},
        "archive": {"location": "archive/x", "bytes": 10**9, "bytesDone": 10**9, "objects": 12, "completedAt": AT},
        "attempt": {"number": 2, "startedAt": AT, "runningSince": AT, "finishedAt": AT, "outcome": "Completed"},
        "restarts": {"total": 1, "recent": [{"attempt": 1, "cause": "PodKilled", "at": AT}]},
        "progress": {
            "step": 1000,
            "targetSteps": 1000,
            "loss": 0.1,
            "lossSmoothed": 0.09,
            "imagesPerSecond": 100.0,
            "lastCheckpoint": "step-00001000-x",
            "lastCheckpointStep": 1000,
            "lastCheckpointAt": AT,
            "findings": [{"name": "LearningRate", "severity": "Error", "step": 3, "sentence": "too high"}],
            "advancedAt": AT,
            "updatedAt": AT,
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="turns of each kind")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a turn")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two scrapes")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="t2i-bench-") as folder:
        figures = measure(
            Path(folder),
            jobs=options.jobs,
            interval=options.interval,
            turns=options.turns,
            turn_seconds=options.seconds,
        )
    told = json.dumps(dataclasses.asdict(figures), indent=1) if options.json else describe(figures)
    sys.stdout.write(told + "\n")


if __name__ == "__main__":
    main()
