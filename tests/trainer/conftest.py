"""A real, tiny job: captioned pictures made by Pillow, a random BERT with its tokenizer, a UNet of 0.1 M weights."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from PIL import Image, ImageDraw

from t2i_api.attempt import AttemptDocument
from t2i_api.job import JobSpec
from t2i_checkpoint.s3 import S3Store
from t2i_checkpoint.store import Credentials
from t2i_dev.ports import free_ports
from t2i_dev.small_unet import small_unet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from t2i_checkpoint.store import Store
    from t2i_dev.s3_server import S3Server

COLOURS = ("red", "green", "blue", "yellow", "purple")
SHAPES = ("circle", "square")
TEXT_WIDTH = 16
UNET = small_unet(
    (8, 16), text_width=TEXT_WIDTH, in_channels=12, out_channels=12, attention_head_dim=4, norm_num_groups=4
)


@dataclass(frozen=True)
class Finished:
    """A trainer that ended: exit status, what it logged, its termination message."""

    status: int
    log: str
    message: dict[str, Any]


@dataclass(frozen=True)
class TrainerJob:
    """A job whose data, text encoder and checkpoints lie on the real S3 server, and how to run it."""

    spec: Mapping[str, Any]
    store: Store
    environment: Mapping[str, str]
    directory: Path

    def changed(self, group: str, **fields: Any) -> TrainerJob:
        """The same job with some fields of a spec group replaced."""
        return replace(self, spec={**self.spec, group: {**self.spec[group], **fields}})

    def elsewhere(self, name: str) -> TrainerJob:
        """The same job with checkpoints at another prefix, empty."""
        bucket = str(self.spec["checkpoint"]["uri"]).rpartition("/")[0]
        environment = self.environment
        store = _s3_store(environment, f"{bucket}/{name}")
        return replace(self.changed("checkpoint", uri=f"{bucket}/{name}"), store=store)

    def start(self, *, processes: int = 2, attempt: int = 1, resume_from: str | None = None) -> RunningTrainer:
        """Start `t2i-trainer` as the operator's pod would."""
        folder = self.directory / uuid.uuid4().hex
        folder.mkdir()
        port, metrics_port = free_ports(2)
        document = {
            "apiVersion": "training.t2i.dev/v1alpha1",
            "kind": "DiffusionTrainingJob",
            "metadata": {"name": "shapes", "namespace": "default", "uid": "0123abcd-0000"},
            "spec": dict(self.spec),
        }
        (folder / "job.yaml").write_text(yaml.safe_dump(document))
        given = AttemptDocument(
            job_name="shapes",
            job_namespace="default",
            job_uid="0123abcd-0000",
            attempt=attempt,
            workers=1,
            processes_per_worker=processes,
            resume_from=resume_from,
            rendezvous_address="127.0.0.1",
            rendezvous_port=port,
            metrics_port=metrics_port,
        )
        (folder / "attempt.json").write_text(given.model_dump_json(by_alias=True))
        (folder / "termination-log").touch()
        command = [sys.executable, "-m", "t2i_trainer.main", "--job", str(folder / "job.yaml")]
        command += ["--termination-log", str(folder / "termination-log")]
        environment = {**os.environ, **self.environment, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log, env=environment, start_new_session=True)
        return RunningTrainer(process, folder, metrics_port)

    def run(self, *, processes: int = 2, attempt: int = 1, resume_from: str | None = None) -> Finished:
        """Start it and wait for its end."""
        return self.start(processes=processes, attempt=attempt, resume_from=resume_from).finish()

    def losses(self) -> dict[int, str]:
        """The loss of each step as metrics.jsonl spells it."""
        rows = [json.loads(line, parse_float=str) for line in self.store.read("metrics.jsonl").splitlines()]
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        return {row["step"]: row["loss"] for row in rows}


@dataclass(frozen=True)
class RunningTrainer:
    """A launcher and its workers, in a process group of their own."""

    process: subprocess.Popen[bytes]
    folder: Path
    metrics_port: int

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def kill_all(self) -> None:
        """SIGKILL to launcher and workers at once, as the end of a pod."""
        for pid in (self.process.pid, *self.workers()):
            os.kill(pid, 9)
        self.process.wait(30)

    def workers(self) -> tuple[int, ...]:
        """The process ids of the ranks."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return tuple(int(pid) for pid in found.stdout.split())

    def finish(self, seconds: float = 120) -> Finished:
        """Wait for the end."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            pytest.fail(f"the trainer did not end within {seconds} s:\n{self.log}")
        text = (self.folder / "termination-log").read_text()
        return Finished(status, self.log, json.loads(text) if text else {})


@pytest.fixture(scope="session")
def text_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights and a word tokenizer, as transformers saves them."""
    import torch  # noqa: PLC0415  # seconds, which tests without a text encoder do not pay
    from transformers import BertConfig, BertModel, BertTokenizer  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("text-encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "on", "white", *COLOURS, *SHAPES]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "hidden_size": TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_clip() -> Callable[[Path], None]:
    """Save a CLIP text encoder of two layers with random weights, and a tokenizer of single letters."""

    def make(folder: Path) -> None:
        import torch  # noqa: PLC0415  # seconds, which tests without a text encoder do not pay
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: PLC0415

        letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
        words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        tokens = {word: number for number, word in enumerate(words)}
        folder.mkdir(parents=True, exist_ok=True)
        CLIPTokenizer(vocab=tokens, merges=[]).save_pretrained(folder)
        sizes: dict[str, Any] = {
            "hidden_size": TEXT_WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        }
        ends: dict[str, Any] = {
            "bos_token_id": len(words) - 2,
            "eos_token_id": len(words) - 1,
            "pad_token_id": len(words) - 1,
        }
        torch.manual_seed(1)
        config = CLIPTextConfig(vocab_size=len(words), max_position_embeddings=32, **sizes, **ends)
        CLIPTextModel(config).save_pretrained(folder)

    return make


@pytest.fixture(scope="session")
def make_vae() -> Callable[[Path, str], None]:
    """Save an autoencoder with random weights that halves a side once, of a class of Diffusers."""

    def make(folder: Path, kind: str = "AutoencoderKL") -> None:
        import diffusers  # noqa: PLC0415  # seconds, which tests without an autoencoder do not pay
        import torch  # noqa: PLC0415

        options: dict[str, dict[str, Any]] = {
            "AutoencoderKL": {
                "block_out_channels": (8, 8),
                "down_block_types": ("DownEncoderBlock2D",) * 2,
                "up_block_types": ("UpDecoderBlock2D",) * 2,
                "norm_num_groups": 4,
                "scaling_factor": 0.5,
            },
            "AutoencoderTiny": {
                "encoder_block_out_channels": (8, 8),
                "decoder_block_out_channels": (8, 8),
                "num_encoder_blocks": (1, 1),
                "num_decoder_blocks": (1, 1),
            },
        }
        torch.manual_seed(2)
        getattr(diffusers, kind)(latent_channels=4, **options[kind]).save_pretrained(folder)

    return make


def picture(colour: str, shape: str, side: int = 16) -> bytes:
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    box = (3, 3, side - 4, side - 4)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_pictures(store: Store, prefix: str = "") -> None:
    """Write ten captioned pictures and their metadata.jsonl."""
    lines = []
    for colour in COLOURS:
        for shape in SHAPES:
            name = f"{colour}-{shape}.png"
            store.put(f"{prefix}{name}", picture(colour, shape))
            lines.append(json.dumps({"file_name": name, "text": f"a {colour} {shape} on white"}))
    store.put(f"{prefix}metadata.jsonl", "\n".join(lines).encode())


def _s3_store(environment: Mapping[str, str], uri: str) -> S3Store:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    credentials = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    return S3Store(bucket, prefix, endpoint=environment["AWS_ENDPOINT_URL"], credentials=credentials)


@pytest.fixture(scope="session")
def trainer_data(s3_server: S3Server, text_encoder_folder: Path) -> str:
    """Pictures and text encoder on the S3 server; returns their common URI."""
    uri = f"s3://{s3_server.bucket}/trainer-tests"
    write_pictures(_s3_store(s3_server.environment(), f"{uri}/data"))
    models = _s3_store(s3_server.environment(), f"{uri}/encoder")
    for path in text_encoder_folder.iterdir():
        models.upload(path.name, path)
    return uri


@pytest.fixture(scope="session")
def make_job(
    s3_server: S3Server, trainer_data: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], TrainerJob]:
    """Make a job of 12 steps whose checkpoints lie at a prefix of its own."""

    def make(name: str) -> TrainerJob:
        uri = f"{trainer_data}/{name}-{uuid.uuid4().hex[:8]}"
        spec = {
            "model": {
                "unet": {"config": UNET},
                "textEncoder": {"uri": f"{trainer_data}/encoder", "maxTokens": 8},
                "pixelUnshuffleFactor": 2,
            },
            "data": {"uri": f"{trainer_data}/data", "resolution": 16},
            "training": {
                "steps": 12,
                "globalBatchSize": 4,
                "learningRate": 0.002,
                "warmupSteps": 3,
                "seed": 7,
                "ema": {"decay": 0.9},
            },
            "sampling": {
                "prompts": ["a red circle on white", "a blue square on white"],
                "guidanceScale": 1.5,
                "inferenceSteps": 3,
            },
            "checkpoint": {"uri": uri, "endpoint": s3_server.endpoint, "everySteps": 3, "retain": 2},
            "workers": {"count": 1, "gpusPerWorker": 0},
        }
        environment = s3_server.environment()
        return TrainerJob(spec, _s3_store(environment, uri), environment, tmp_path_factory.mktemp(name))

    return make


@pytest.fixture(scope="session")
def write_dataset() -> Callable[[Store], None]:
    return write_pictures


@pytest.fixture
def job_spec(tmp_path: Path) -> JobSpec:
    """The spec of a job that needs no server."""
    return JobSpec.model_validate(
        {
            "model": {
                "unet": {"config": UNET},
                "textEncoder": {"uri": f"file://{tmp_path}/encoder", "maxTokens": 8},
                "pixelUnshuffleFactor": 2,
            },
            "data": {"uri": f"file://{tmp_path}/data", "resolution": 16},
            "training": {"steps": 12, "globalBatchSize": 4, "learningRate": 0.002},
            "sampling": {"prompts": ["a red circle on white"], "guidanceScale": 1.5, "inferenceSteps": 3},
            "checkpoint": {"uri": f"file://{tmp_path}/bucket", "everySteps": 3},
            "workers": {"gpusPerWorker": 0},
        }
    )
