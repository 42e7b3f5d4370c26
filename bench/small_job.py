"""A small training job that benchmarks share: drawn shapes with captions, a UNet of 4.3 M parameters on 16 x 16.

Its run is the trainer's own (`t2i_trainer.train.Run`), past the gate's first 200 steps unless said otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL
from PIL import Image, ImageDraw

from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import Progress
from t2i_api.spec_training import Precision
from t2i_dev.lone_attempt import ALONE
from t2i_dev.story.text_encoder import write_text_encoder
from t2i_trainer.checkpointing.saver import Saver
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.interruption import Interruption
from t2i_trainer.prepare import prepare
from t2i_trainer.report.writer import ReportWriter
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.trackers import Trackers
from t2i_trainer.train import Run
from t2i_trainer.world import World

if TYPE_CHECKING:
    from pathlib import Path

# Diffusers carries no types of its own.
_VAE: Any = cast("Any", AutoencoderKL)

BATCH = 32
RESOLUTION = 32
MAX_TOKENS = 16
UNSHUFFLE = 2
LATENT_CHANNELS = 4
PAST_THE_GATE = 1001  # the gate looks closely at the first 200 steps and then at every 500th
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES = ("circle", "square", "triangle", "cross")
UNET = {
    "sample_size": RESOLUTION // 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "cross_attention_dim": 384,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
VAE = {
    "block_out_channels": (64, 128),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 2,
    "latent_channels": LATENT_CHANNELS,
    "scaling_factor": 1.0,
}


@dataclass(frozen=True)
class Case:
    """One comparison."""

    space: Literal["latents", "pixels"]
    precision: Precision
    width: int = 64  # of the UNet

    @property
    def channels(self) -> int:
        """What the UNet takes."""
        return LATENT_CHANNELS if self.space == "latents" else 3 * UNSHUFFLE**2

    @property
    def name(self) -> str:
        """How it is printed."""
        return f"{self.space}-{self.precision.value.lower()}"


def draw_pictures(folder: Path) -> list[tuple[Path, str]]:
    """Draw every shape in every colour on every other colour; returns files and captions."""
    made, lines = [], []
    for shape in SHAPES:
        for colour in COLOURS:
            for ground in COLOURS:
                if colour == ground:
                    continue
                path = folder / f"{shape}-{colour}-{ground}.png"
                _picture(shape, colour, ground).save(path)
                caption = f"a {colour} {shape} on a {ground} background"
                made.append((path, caption))
                lines.append(json.dumps({"file_name": path.name, "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return made


def _picture(shape: str, colour: str, ground: str) -> Image.Image:
    side = RESOLUTION
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)
    low, high, middle = side // 5, side - side // 5, side // 2
    match shape:
        case "circle":
            pen.ellipse((low, low, high, high), fill=colour)
        case "square":
            pen.rectangle((low, low, high, high), fill=colour)
        case "triangle":
            pen.polygon([(middle, low), (high, high), (low, high)], fill=colour)
        case _:
            pen.line((low, low, high, high), fill=colour, width=side // 6)
            pen.line((low, high, high, low), fill=colour, width=side // 6)
    return image


def write_sources(folder: Path) -> list[tuple[Path, str]]:
    """Write pictures, text encoder and autoencoder where `job_of` names them; returns files and captions."""
    (folder / "pictures").mkdir()
    pictures = draw_pictures(folder / "pictures")
    write_text_encoder(folder / "encoder")
    torch.manual_seed(0)
    _VAE(**VAE).save_pretrained(folder / "vae")
    return pictures


def job_of(folder: Path, case: Case) -> DiffusionTrainingJob:
    """Return the job whose loop is measured."""
    widths = [case.width, 2 * case.width]
    unet = {**UNET, "block_out_channels": widths, "in_channels": case.channels, "out_channels": case.channels}
    latent = case.space == "latents"
    place: dict[str, Any] = (
        {"vae": {"uri": f"file://{folder}/vae", "scalingFactor": 1.0}}
        if latent
        else {"pixelUnshuffleFactor": UNSHUFFLE}
    )
    return DiffusionTrainingJob.from_object(
        {
            "metadata": {"name": "bench", "namespace": "default", "uid": "0123abcd"},
            "spec": {
                "model": {
                    "unet": {"config": unet},
                    "textEncoder": {"uri": f"file://{folder}/encoder", "maxTokens": MAX_TOKENS},
                    **place,
                },
                "data": {"uri": f"file://{folder}/pictures", "resolution": RESOLUTION},
                "training": {
                    "steps": 10**6,
                    "globalBatchSize": BATCH,
                    "learningRate": 1e-4,
                    "precision": case.precision.value,
                },
                "checkpoint": {"uri": f"file://{folder}/bucket-{case.name}", "everySteps": 10**6},
                "workers": {"gpusPerWorker": 0},
            },
        }
    )


def make_run(folder: Path, case: Case, *, name: str = "run", step: int = PAST_THE_GATE) -> Run:
    """Return our loop, ready for the step after `step`; `name` tells runs of one process apart."""
    run_directory = folder / f"{name}-{case.name}"
    run_directory.mkdir()
    configuration = RunConfiguration(job_of(folder, case), ALONE, "cpu", run_directory)
    world = World(accelerator_of(case.precision), 0, 0, 1, torch.device("cpu"))
    progress = Progress(attempt=1, world_size=1, target_steps=10**6, updated_at=datetime.now(UTC))
    telemetry = Telemetry(progress, BATCH)
    prepared = prepare(configuration, world, telemetry)
    prepared.state.step = step
    saver = Saver(configuration, world, telemetry)
    report = ReportWriter(configuration, None)
    run = Run(configuration, world, telemetry, Interruption(), prepared, saver, Trackers(()), report)
    run.begin()
    return run


def accelerator_of(precision: Precision) -> Accelerator:
    """Return an Accelerator of this precision.

    Accelerate keeps one precision a process, which `prepare` reads; so each loop is made before the next asks.
    """
    AcceleratorState._reset_state()  # noqa: SLF001  # has no public name
    return Accelerator(cpu=True, mixed_precision="bf16" if precision is Precision.BF16 else "no")
