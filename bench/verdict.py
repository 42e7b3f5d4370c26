"""The verdict against what people do without it: download the checkpoint, load it, catch the error.

Both look at the same foreign checkpoint over the same S3 server on loopback, in turn, in one run: SD 1.5's UNet in
half precision (1.7 GB, true header) where a job asks for SD 2.1's. "Load" is `load_state_dict(strict=True)` into a
model on the meta device, which raises the same error and costs the baseline neither memory nor initialisation.
Besides: one whole 13.8 GB checkpoint of ours, a hundred of them in one prefix, and the memory that judging adds.
A download of the 13.8 GB is not made; its time is given at the measured rate and marked so.
Run `python bench/verdict.py [--json] [--repeats N] [--without-download]`; downloads need 2 GB of disk for the moment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint import layout
from t2i_checkpoint.inspect import Survey, survey
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.corpus.full_size import save_full_size
from t2i_dev.corpus.jobs import UNETS, Task, job_document
from t2i_dev.corpus.sparse import write_sparse
from t2i_dev.s3_server import S3Server

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

FOREIGN, OWN, HUNDRED, EMPTY = "foreign", "own", "hundred", "empty"
FOREIGN_WEIGHTS = f"checkpoint-500/{layout.WEIGHTS}"
CHECKPOINTS = 100
KIB = 1024


def wanted_of(task: Task) -> Wanted:
    """Return what the corpus's job of this task asks for."""
    return wanted_from(DiffusionTrainingJob.from_object(job_document(task, "s3://t2i/x")).spec)


def prefix_store(server: S3Server, prefix: str) -> Store:
    """Open a prefix with a new connection."""
    credentials = Credentials(server.access_key, server.secret_key)
    return open_store(f"s3://{server.bucket}/{prefix}", endpoint=server.endpoint, credentials=credentials)


def lay(bucket: Path) -> None:
    """Put everything into the server's directory: uploading zeros would measure something else."""
    write_sparse(bucket / FOREIGN / FOREIGN_WEIGHTS, unet_architecture_from_mapping(UNETS[Task.SD1]), "F16")
    save_full_size(bucket / OWN, Task.SD1, 5000)
    for step in range(100, 100 * (CHECKPOINTS + 1), 100):
        save_full_size(bucket / HUNDRED, Task.SD1, step)


def download_load_and_catch(store: Store, model: Any, directory: Path) -> tuple[float, float]:
    """Return the seconds of the download and of load-and-catch."""
    from safetensors.torch import load_file  # noqa: PLC0415  # the process that measures memory has no torch

    target = directory / "weights.safetensors"
    began = time.monotonic()
    store.download(FOREIGN_WEIGHTS, target)
    downloaded = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing is copied to the meta device is what we want
            model.load_state_dict(load_file(target), strict=True)
    except RuntimeError as error:
        caught = str(error)
    else:
        raise AssertionError("the checkpoint was meant not to fit")
    finally:
        target.unlink()
    if "size mismatch" not in caught:
        raise AssertionError(f"another error than the one that people catch: {caught[:200]}")
    return downloaded - began, time.monotonic() - downloaded


def against_a_download(server: S3Server, repeats: int, directory: Path) -> dict[str, Any]:
    """Take both ways in turn and return medians."""
    from t2i_dev.corpus.true_shapes import diffusers_unet  # noqa: PLC0415  # see above

    model, wanted = diffusers_unet(UNETS[Task.SD2]), wanted_of(Task.SD2)
    judged: list[Survey] = []
    downloads, loads = [], []
    for _ in range(repeats):
        judged.append(survey(prefix_store(server, FOREIGN), wanted))
        download, load = download_load_and_catch(prefix_store(server, FOREIGN), model, directory)
        downloads.append(download)
        loads.append(load)
    size = judged[0].judgements[0].size_bytes
    seconds = statistics.median(each.seconds for each in judged)
    other = statistics.median(map(sum, zip(downloads, loads, strict=True)))
    return {
        "verdict": judged[0].judgements[0].verdict.kind,
        "explanation": judged[0].judgements[0].verdict.explanation,
        "checkpointBytes": size,
        "bytesRead": judged[0].bytes_read,
        "requests": judged[0].requests,
        "bytesRatio": size / judged[0].bytes_read,
        "verdictSeconds": seconds,
        "downloadSeconds": statistics.median(downloads),
        "loadSeconds": statistics.median(loads),
        "timeRatio": other / seconds,
        "downloadBytesPerSecond": size / statistics.median(downloads),
        "repeats": repeats,
    }


def surveyed(server: S3Server, prefix: str, repeats: int) -> dict[str, Any]:
    """Judge a prefix several times, each with a new connection."""
    wanted = wanted_of(Task.SD1)
    began = time.process_time()
    found = [survey(prefix_store(server, prefix), wanted) for _ in range(repeats)]
    return {
        "cpuSeconds": (time.process_time() - began) / repeats,
        "checkpoints": len(found[0].judgements),
        "verdicts": sorted({each.verdict.kind for each in found[0].judgements}),
        "checkpointBytes": sum(each.size_bytes for each in found[0].judgements),
        "bytesRead": found[0].bytes_read,
        "requests": found[0].requests,
        "mostReadsOfOne": max(each.requests for each in found[0].judgements),
        "mostBytesOfOne": max(each.bytes_read for each in found[0].judgements),
        "secondsMedian": statistics.median(each.seconds for each in found),
        "secondsBest": min(each.seconds for each in found),
        "secondsWorst": max(each.seconds for each in found),
        "repeats": repeats,
    }


def print_extra_memory(uri: str) -> None:
    """Print by how many bytes a survey of `uri` raises the peak of a process that has surveyed an empty prefix."""
    wanted = wanted_of(Task.SD1)
    survey(open_store(f"{uri.rpartition('/')[0]}/{EMPTY}"), wanted)
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew
    before = memory("VmRSS")
    survey(open_store(uri), wanted)
    print(memory("VmHWM") - before)  # noqa: T201  # for the parent


def memory(field: str) -> int:
    """Return a figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith(f"{field}:"))


def extra_memory(server: S3Server, prefix: str) -> int:
    """Return the same in bytes, from a process of its own that holds no torch."""
    command = [sys.executable, __file__, "--extra-memory-of", f"s3://{server.bucket}/{prefix}"]
    environment = {**os.environ, **server.environment()}
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def measure(directory: Path, repeats: int, *, with_download: bool) -> dict[str, Any]:
    """Start a server, lay everything into it, and measure."""
    with S3Server.start(directory / "server") as server:
        lay(directory / "server" / "data" / server.bucket)
        own = surveyed(server, OWN, repeats)
        found = {
            "own": own
            | {"extraMemoryBytes": extra_memory(server, OWN), "bytesRatio": own["checkpointBytes"] / own["bytesRead"]},
            "hundred": surveyed(server, HUNDRED, repeats) | {"extraMemoryBytes": extra_memory(server, HUNDRED)},
        }
        if with_download:
            found["againstDownload"] = against_a_download(server, repeats, directory)
        return found | {"loadAverage": os.getloadavg()[0]}


def report(found: dict[str, Any]) -> str:
    """Return the figures as sentences."""
    own, hundred = found["own"], found["hundred"]
    judged = f"""\
A whole checkpoint of ours, {own["checkpointBytes"] / 1e9:.1f} GB: {own["verdicts"][0]}
  {own["secondsMedian"]:.3f} s, {looked(own)} (1/{own["bytesRatio"]:,.0f} of the bytes), \
{own["extraMemoryBytes"] / 1e6:.1f} MB of memory
{hundred["checkpoints"]} of them in one prefix: {hundred["secondsMedian"]:.2f} s (best {hundred["secondsBest"]:.2f}, \
worst {hundred["secondsWorst"]:.2f}; {hundred["cpuSeconds"]:.2f} s of processor)
  {looked(hundred)}; of one at most {hundred["mostReadsOfOne"]} reads, {hundred["mostBytesOfOne"] / KIB:.0f} KiB; \
{hundred["extraMemoryBytes"] / 1e6:.1f} MB of memory
Load average of the machine at the end: {found["loadAverage"]:.1f} on {os.cpu_count()} cores"""
    versus = found.get("againstDownload")
    return judged if versus is None else f"{report_of_download(versus, own)}\n{judged}"


def report_of_download(versus: dict[str, Any], own: dict[str, Any]) -> str:
    """Return both ways side by side; the 13.8 GB are not downloaded, their time is given at the measured rate."""
    seconds = own["checkpointBytes"] / versus["downloadBytesPerSecond"]
    return f"""\
A foreign checkpoint of {versus["checkpointBytes"] / 1e9:.2f} GB, both ways in turn, medians of {versus["repeats"]}:
  verdict: {versus["verdictSeconds"]:.3f} s, {looked(versus)} ({versus["explanation"]})
  download, load and catch: {versus["downloadSeconds"]:.2f} s at {versus["downloadBytesPerSecond"] / 1e6:.0f} MB/s \
+ {versus["loadSeconds"]:.2f} s
  the verdict reads 1/{versus["bytesRatio"]:,.0f} of the bytes in 1/{versus["timeRatio"]:,.0f} of the time
  {own["checkpointBytes"] / 1e9:.1f} GB would take {seconds:.0f} s at that rate (extrapolated, loading not counted): \
their verdict comes in 1/{seconds / own["secondsMedian"]:,.0f} of the time"""


def looked(figures: dict[str, Any]) -> str:
    """Return `4 requests, 297 KiB`."""
    return f"{figures['requests']} requests, {figures['bytesRead'] / KIB:,.0f} KiB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=3, help="times each way is taken (default 3)")
    parser.add_argument("--without-download", action="store_true", help="judge only")
    parser.add_argument("--extra-memory-of", metavar="URI", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.extra_memory_of:
        print_extra_memory(arguments.extra_memory_of)
        return
    with tempfile.TemporaryDirectory() as directory:
        found = measure(Path(directory), arguments.repeats, with_download=not arguments.without_download)
    print(json.dumps(found, indent=1) if arguments.json else report(found))  # noqa: T201  # the command's output


if __name__ == "__main__":
    main()
