"""What judging a 13.8 GB SD 1.5 checkpoint costs over a real S3 server, against downloading it.

The files are sparse: real headers, manifest and sizes, no data. They are laid directly into the server's directory,
because uploading gigabytes of zeros would measure something else. Run `python bench/preflight.py [--json]`; how long
"download, then load and catch" takes beside it is measured by `bench/verdict.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.corpus.full_size import save_full_size
from t2i_dev.corpus.jobs import Task, job_document
from t2i_dev.s3_server import S3Server

if TYPE_CHECKING:
    from t2i_checkpoint.inspect import Survey

RUN = "sd15"


def measure(directory: Path, repeats: int) -> list[Survey]:
    """Start a server, lay the checkpoint into it and judge it `repeats` times, each with a new connection."""
    with S3Server.start(directory) as server:
        save_full_size(directory / "data" / server.bucket / RUN, Task.SD1, 5000)
        uri = f"s3://{server.bucket}/{RUN}"
        wanted = wanted_from(DiffusionTrainingJob.from_object(job_document(Task.SD1, uri)).spec)
        credentials = Credentials(server.access_key, server.secret_key)
        return [
            survey(open_store(uri, endpoint=server.endpoint, credentials=credentials), wanted) for _ in range(repeats)
        ]


def figures(surveys: list[Survey]) -> dict[str, Any]:
    """Return what is reported; sizes in bytes, times in seconds."""
    judgement = surveys[0].judgements[0]
    return {
        "verdict": judgement.verdict.kind,
        "checkpointBytes": judgement.size_bytes,
        "requests": surveys[0].requests,
        "bytesRead": surveys[0].bytes_read,
        "ratio": judgement.size_bytes / surveys[0].bytes_read,
        "secondsMedian": statistics.median(found.seconds for found in surveys),
        "secondsWorst": max(found.seconds for found in surveys),
        "repeats": len(surveys),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=5, help="surveys to time (default 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = figures(measure(Path(directory), arguments.repeats))
    if arguments.json:
        print(json.dumps(found))  # noqa: T201  # the command's output
        return
    print(  # noqa: T201  # the command's output
        f"{found['checkpointBytes'] / 1e9:.1f} GB judged {found['verdict']}: {found['requests']} requests, "
        f"{found['bytesRead'] / 1024:.0f} KiB read, {found['secondsMedian']:.2f} s "
        f"(worst of {found['repeats']}: {found['secondsWorst']:.2f} s); "
        f"1/{found['ratio']:,.0f} of the bytes of a download"
    )


if __name__ == "__main__":
    main()
