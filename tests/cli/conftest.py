"""The real command, and prefixes of both kinds with checkpoints as programs write them."""

import contextlib
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_cli.main import app
from t2i_dev.corpus.jobs import TINY_UNET, Task, job_document
from t2i_dev.s3_server import S3Server

OLD_UNET = {
    "time_embed.0.weight": (16, 4),
    "input_blocks.0.in_layers.2.weight": (8, 4, 3, 3),
    "input_blocks.0.emb_layers.1.weight": (8, 16),
    "input_blocks.0.out_layers.3.weight": (8, 8, 3, 3),
    "input_blocks.0.skip_connection.weight": (8, 4, 1, 1),
    "out.2.weight": (3, 4, 3, 3),
}
OLD = "checkpoints/checkpoint-00005000"


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    status: int
    output: str
    errors: str

    @property
    def document(self) -> dict[str, Any]:
        """The one object of `-o json`."""
        found: dict[str, Any] = json.loads(self.output)
        return found


def run_t2i(arguments: Iterable[str], environment: Mapping[str, str]) -> Ran:
    """Run the command's entry point with these arguments and nobody at the keyboard."""
    output, errors, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["t2i", *arguments])
        patch.setattr(sys, "stdin", io.StringIO())
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                app()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Ran(status, output.getvalue(), errors.getvalue())


@dataclass(frozen=True)
class Place:
    """A job's prefix, the job that points there, and how to reach it."""

    uri: str
    store: Store
    job_file: Path
    environment: Mapping[str, str]

    def run(self, *arguments: object) -> Ran:
        """Run `t2i` with these arguments in this process, which costs no start; nobody is there to answer."""
        return run_t2i(map(str, arguments), {**self.environment, "COLUMNS": "80"})

    def run_process(self, *arguments: object) -> Ran:
        """Run the installed command, as people do."""
        command = [str(Path(sys.executable).with_name("t2i")), *map(str, arguments)]
        environment = {**os.environ, **self.environment, "COLUMNS": "80"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def put(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write any files."""
        for path, content in files.items():
            self.store.put(f"{folder}/{path}", content)

    def put_old(self, folder: str = OLD) -> None:
        """Write what Accelerate leaves of the story's old UNet."""
        files = {"model.safetensors": tensors(OLD_UNET), "random_states_0.pkl": b"\x80\x04."}
        self.put(folder, files)

    def put_fitting(self, folder: str) -> None:
        """Write weights that fit the job, as Diffusers' save_pretrained does."""
        architecture = unet_architecture_from_mapping(TINY_UNET)
        shapes = {name: parameter.shape for name, parameter in architecture.parameters.items()}
        self.put(folder, {"unet/diffusion_pytorch_model.safetensors": tensors(shapes), "unet/config.json": b"{}"})

    def put_partial(self, folder: str) -> None:
        """Write weights of which most fit the job."""
        architecture = unet_architecture_from_mapping(TINY_UNET)
        shapes = {name: parameter.shape for name, parameter in architecture.parameters.items()}
        shapes["conv_in.weight"] = (shapes["conv_in.weight"][0], 7, 3, 3)
        self.put(folder, {"unet/diffusion_pytorch_model.safetensors": tensors(shapes), "unet/config.json": b"{}"})

    def contents(self) -> dict[str, bytes]:
        """Everything that lies there, but for what a doctor may leave in a bucket's listing."""
        return {info.key: self.store.read(info.key) for info in self.store.list("")}


def tensors(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Return a safetensors file of seeded noise."""
    noise = np.random.default_rng(len(shapes))
    return save({name: noise.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()})


@pytest.fixture
def write_job(tmp_path: Path) -> Callable[..., Path]:
    """Write a job file; keyword arguments replace fields of `spec.checkpoint`."""

    def write(uri: str, endpoint: str | None, **checkpoint: Any) -> Path:
        document = job_document(Task.TINY, uri, endpoint)
        document["spec"]["checkpoint"] |= checkpoint
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write


@pytest.fixture
def t2i() -> Callable[..., Ran]:
    """Run `t2i` where the test stands."""
    return lambda *arguments: run_t2i(arguments, {"COLUMNS": "80"})


@pytest.fixture
def directory_place(tmp_path: Path, write_job: Callable[..., Path]) -> Place:
    root = tmp_path / "run"
    root.mkdir()
    return Place(str(root), open_store(root.as_uri()), write_job(root.as_uri(), None), {})


@pytest.fixture
def s3_place(s3_server: S3Server, write_job: Callable[..., Path]) -> Place:
    uri = f"s3://{s3_server.bucket}/cli-tests/{uuid.uuid4().hex}"
    credentials = Credentials(s3_server.access_key, s3_server.secret_key)
    store = open_store(uri, endpoint=s3_server.endpoint, credentials=credentials)
    return Place(uri, store, write_job(uri, s3_server.endpoint), s3_server.environment())


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    """The same tests on a directory, named by its path, and on the real S3 server."""
    chosen: Place = request.getfixturevalue(f"{request.param}_place")
    return chosen
