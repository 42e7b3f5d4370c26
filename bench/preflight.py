# ruff: noqa: INP001  # a script, not a package
"""What judging a 13.8 GB SD 1.5 checkpoint costs over a real S3 server, against downloading it.

The files are sparse: real headers, manifest and sizes, no data. They are laid directly into the server's directory,
because uploading gigabytes of zeros would measure something else. Run `python bench/preflight.py [--json]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i_api.presets import PRESETS
from t2i_checkpoint import layout
from t2i_checkpoint.inspect import Survey, survey
from t2i_checkpoint.manifest import Manifest, ManifestFile
from t2i_checkpoint.open import open_store
from t2i_checkpoint.optimizer import optimizer_architecture
from t2i_checkpoint.store import Credentials
from t2i_checkpoint.unet import unet_architecture
from t2i_checkpoint.verdict import Meaning, Wanted
from t2i_dev.s3_server import S3Server

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture

FLOAT32_BYTES = 4
MEANING = Meaning("epsilon", "scaled_linear, 1000 timesteps", 0.18215, None)
NO_DIGEST = "0" * 64  # nobody reads the data of a sparse file
RUN = "sd15"


def write_sparse(path: Path, architecture: Architecture) -> ManifestFile:
    """Write a safetensors file with the true header and a hole in place of the tensors."""
    table, position = {}, 0
    for name, parameter in architecture.parameters.items():
        end = position + parameter.count * FLOAT32_BYTES
        table[name] = {"dtype": "F32", "shape": list(parameter.shape), "data_offsets": [position, end]}
        position = end
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # as the safetensors library aligns it
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + position)
    size = path.stat().st_size
    return ManifestFile(path=path.name, size=size, sha256=NO_DIGEST, header_bytes=8 + len(header))


def write_checkpoint(root: Path, model: Architecture, step: int) -> None:
    """Write weights, EMA, optimizer and manifest of one checkpoint below `root`."""
    folder = root / layout.checkpoint_folder(step, "bench")
    contents = {
        layout.WEIGHTS: model,
        layout.EMA_WEIGHTS: model,
        layout.OPTIMIZER: optimizer_architecture(model),
    }
    files = tuple(
        write_sparse(folder / path, architecture).model_copy(update={"path": path})
        for path, architecture in contents.items()
    )
    for path in (layout.TRAINER_STATE, layout.NULL_EMBEDDING):  # never opened by a verdict
        (folder / path).write_bytes(b"{}")
        files += (ManifestFile(path=path, size=2, sha256=NO_DIGEST),)
    manifest = Manifest(
        step=step,
        writer="bench",
        created_at=datetime.now(UTC),
        files=files,
        architecture_fingerprint=model.fingerprint(),
        parameter_order=model.names,
        samples_seen=step * 256,
        epoch=0,
        position_in_epoch=0,
        world_size=8,
        global_batch_size=256,
        seed=0,
        prediction_type=MEANING.prediction_type,
        noise_schedule=MEANING.noise_schedule,
        latent_scale=MEANING.latent_scale,
        null_embedding_sha256=MEANING.null_embedding_sha256,
        library_versions={},
    )
    (folder / layout.MANIFEST).write_bytes(manifest.to_json())


def measure(directory: Path, repeats: int) -> list[Survey]:
    """Start a server, lay the checkpoint into it and judge it `repeats` times, each with a new connection."""
    model = unet_architecture(PRESETS["stable-diffusion-v1"])
    with S3Server.start(directory) as server:
        write_checkpoint(directory / "data" / server.bucket / RUN, model, 5000)
        surveys = []
        for _ in range(repeats):
            credentials = Credentials(server.access_key, server.secret_key)
            store = open_store(f"s3://{server.bucket}/{RUN}", endpoint=server.endpoint, credentials=credentials)
            surveys.append(survey(store, Wanted(model, MEANING)))
        return surveys


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
