"""How long a pod takes from its process's start to its first step: on a node that knows nothing, and started again.

Real runs of `t2i-trainer` with torch.compile (WholeGraph), shards and checkpoint on a real S3 server on loopback; each
resumes the same checkpoint and is killed after its first step. Cold: $T2I_CACHE_DIRECTORY, which in a pod is the volume
of `workers.template.cacheClaim`, is empty. Warm: it is as the run before left it. All else of a pod is new at every
start. They take turns, so that what else the machine does hits both. Python's modules are in the page cache for both:
the image is on the node.
Run `python bench/restart.py [--rounds 3] [--json]`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import psutil
import yaml

from small_job import Case, job_of, write_sources
from t2i_api.attempt import CACHE_VARIABLE
from t2i_api.job import DiffusionTrainingJob
from t2i_api.spec_training import Compile, Precision
from t2i_checkpoint.open import open_location, open_store
from t2i_dev.ports import free_ports
from t2i_dev.s3_server import S3Server
from t2i_trainer.data.encode_job import EncodeOptions, encode_job

if TYPE_CHECKING:
    from collections.abc import Mapping

CASE = Case("latents", Precision.FP32)
FIRST_STEPS = 2  # of the run whose checkpoint all the others resume
GOAL = 3.0
INDUCTOR_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_PREPARED = re.compile(r" pictures, .* M parameters, ")
_STEPPED = re.compile(r" step \d+ of \d+: loss ")


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process until model, data and checkpoint are there, and to the first step."""

    prepared: float
    first_step: float


@dataclass(frozen=True)
class Figures:
    """In the order of the rounds."""

    cold: list[Start]
    warm: list[Start]

    @property
    def ratio(self) -> float:
        """How many times faster a warm pod is, median of the rounds."""
        return statistics.median(c.first_step / w.first_step for c, w in zip(self.cold, self.warm, strict=True))


@dataclass(frozen=True)
class Bench:
    """A job on the S3 server and the machine's part of the pods: `folder` holds scratch space and caches."""

    folder: Path
    job: dict[str, Any]
    environment: Mapping[str, str]

    def prepare(self) -> None:
        """Train the steps that every start resumes from; nothing of that run's cache is kept."""
        job = {**self.job, "spec": {**self.job["spec"], "training": {**self.job["spec"]["training"]}}}
        job["spec"]["training"] |= {"steps": FIRST_STEPS, "compile": Compile.EAGER.value}
        subprocess.run(self._command(job, "first"), env=self._environment("first"), check=True)

    def start(self, name: str, *, cold: bool) -> Start:
        """Start a pod, and kill it after its first step."""
        if cold:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        began = time.monotonic()
        process = subprocess.Popen(
            self._command(self.job, name), env=self._environment("cache"), stderr=subprocess.PIPE, text=True
        )
        try:
            prepared, lines = None, []
            for line in process.stderr or ():
                lines.append(line)
                if _PREPARED.search(line):
                    prepared = time.monotonic() - began
                if _STEPPED.search(line) and prepared is not None:
                    return Start(prepared, time.monotonic() - began)
        finally:
            _kill(process)
        raise RuntimeError("the trainer ended before its first step:\n" + "".join(lines))

    def _command(self, job: dict[str, Any], name: str) -> list[str]:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(job))
        command = [sys.executable, "-m", "t2i_trainer.main", "--job", str(path), "--device", "cpu"]
        return [*command, "--processes", "1", "--port", str(free_ports(1)[0]), "--address", "127.0.0.1"]

    def _environment(self, cache: str) -> dict[str, str]:
        # A pod's own scratch space is empty whenever it starts.
        scratch = self.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        own = {CACHE_VARIABLE: str(self.folder / cache), "TMPDIR": str(scratch)}
        # Importing torch here has set where Inductor keeps its code; the launcher would respect that.
        inherited = {name: value for name, value in os.environ.items() if name != INDUCTOR_CACHE_VARIABLE}
        return {**inherited, **self.environment, **own}


def _kill(process: subprocess.Popen[str]) -> None:
    """End launcher, workers and uploader as the loss of their machine would."""
    with contextlib.suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(process.pid)
        for each in (*launcher.children(recursive=True), launcher):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


def on_server(server: S3Server, folder: Path) -> Bench:
    """Put data, models and checkpoints of the small job on the server."""
    os.environ.update(server.environment())
    write_sources(folder)
    document = job_of(folder, CASE).spec.to_wire()
    document["training"]["compile"] = Compile.WHOLE_GRAPH.value
    spec = DiffusionTrainingJob.from_object({"metadata": {"name": "bench"}, "spec": document}).spec
    place = f"s3://{server.bucket}"
    scratch = folder / "encoding"
    scratch.mkdir()
    shards = open_store(f"{place}/shards", endpoint=server.endpoint)
    encode_job(spec, open_location(spec.data.uri), shards, EncodeOptions(scratch), lambda _: None)
    for name in ("encoder", "vae"):
        store = open_store(f"{place}/{name}", endpoint=server.endpoint)
        for path in sorted(each for each in (folder / name).iterdir() if each.is_file()):
            store.upload(path.name, path)
    document["data"]["uri"] = f"{place}/shards"
    document["model"]["textEncoder"]["uri"] = f"{place}/encoder"
    document["model"]["vae"]["uri"] = f"{place}/vae"
    document["checkpoint"] |= {"uri": f"{place}/run", "endpoint": server.endpoint}
    return Bench(folder, {"metadata": {"name": "bench"}, "spec": document}, server.environment())


def measure(rounds: int) -> Figures:
    """Start a cold pod and a warm one in turn."""
    with (
        tempfile.TemporaryDirectory(prefix="t2i-bench-") as name,
        S3Server.start(Path(name) / "s3") as server,
    ):
        bench = on_server(server, Path(name))
        bench.prepare()
        cold, warm = [], []
        for number in range(rounds):
            cold.append(bench.start("cold", cold=True))
            warm.append(bench.start("warm", cold=False))
            sys.stderr.write(f"round {number + 1} of {rounds}: cold {cold[-1]}, warm {warm[-1]}\n")
        return Figures(cold, warm)


def describe(figures: Figures) -> str:
    """Return the table for people."""
    lines = []
    for name, starts in (("cold", figures.cold), ("warm", figures.warm)):
        prepared = statistics.median(start.prepared for start in starts)
        compiled = statistics.median(start.first_step - start.prepared for start in starts)
        whole = statistics.median(start.first_step for start in starts)
        lines.append(
            f"{name}: first step after {whole:6.1f} s (ready {prepared:.1f} s, compiling and step {compiled:.1f} s)"
        )
    lines.append(f"a warm restart is {figures.ratio:.2f} times faster (goal: {GOAL:g} times)")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.rounds)
    sys.stdout.write((json.dumps(asdict(figures)) if options.json else describe(figures)) + "\n")


if __name__ == "__main__":
    main()
