"""`t2i data encode` and then `t2i-trainer`, as a person calls them: pictures and shards on S3, a run in latent space.

Short: that batches from shards are the same ones after any resume is shown in test_sharded_feed.py.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from t2i_cli.main import app

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def t2i(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    output, errors, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["t2i", *arguments])
        try:
            app()
        except SystemExit as end:
            status = int(end.code or 0)
    return status, output.getvalue(), errors.getvalue()


@pytest.fixture
def latent_job(make_job: Callable[[str], Any], models_folder: Path) -> Any:
    """A job of two steps whose UNet works on the latents of a random autoencoder."""
    job = make_job("latents")
    for path in (models_folder / "vae").iterdir():
        job.store.upload(f"models/vae/{path.name}", path)
    unet = {**job.spec["model"]["unet"]["config"], "in_channels": 4, "out_channels": 4}
    job = job.changed("model", unet={"config": unet}, vae={"uri": f"{job.store.uri}/models/vae", "scalingFactor": 0.5})
    job.spec["model"].pop("pixelUnshuffleFactor")
    return job.changed("training", steps=2, warmupSteps=1).changed("sampling", prompts=[])


def write_job(path: Path, spec: Mapping[str, Any]) -> str:
    document = {
        "apiVersion": "training.t2i.dev/v1alpha1",
        "kind": "DiffusionTrainingJob",
        "metadata": {"name": "shapes"},
        "spec": dict(spec),
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.exhaustive
def test_encoded_shards_are_trained_on(latent_job: Any, tmp_path: Path) -> None:
    pictures, shards = latent_job.spec["data"]["uri"], f"{latent_job.store.uri}/shards"
    job_file = write_job(tmp_path / "job.yaml", latent_job.spec)
    command = ("data", "encode", pictures, shards, "--job", job_file, "--shard-mib", "1", "-o", "json")
    status, output, errors = t2i(latent_job.environment, *command)
    assert (status, errors) == (0, "")
    document = json.loads(output)
    assert (document["samples"], document["content"], document["broken"]) == (10, "Moments", 0)
    assert document["imagesPerSecond"] > 0

    finished = latent_job.changed("data", uri=shards).run(processes=1)
    assert finished.status == 0, finished.log
    assert "10 pictures" in finished.log
    assert len(latent_job.losses()) == 2


def test_a_mistake_is_one_line_with_the_way_out(latent_job: Any, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    job_file = write_job(tmp_path / "job.yaml", latent_job.spec)
    command = ("data", "encode", str(tmp_path / "nothing"), str(tmp_path / "out"), "--job", job_file)
    status, _, errors = t2i(latent_job.environment, *command)
    assert status == 3
    assert "holds neither metadata.jsonl (an image folder) nor *.tar (webdataset) nor *.parquet" in errors
    status, _, errors = t2i(latent_job.environment, *command, "--device", "tpu")
    assert status == 2
    assert "write auto, cpu or cuda" in errors
