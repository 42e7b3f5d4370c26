# ruff: noqa: INP001  # a script, not a package
"""Images per second of our training loop and of Diffusers' `train_text_to_image.py`, on CPUs, runnable anywhere.

The same UNet (4.3 M parameters on 16 x 16), batch, pictures, captions and frozen encoders; the loops take turns in one
process, so that what else the machine does hits both. Ours is the real one (`t2i_trainer.train.Run`): feed, step,
metrics and watch, past the gate's first 200 steps; no saves on either side. Two cases:

- latents: what the script is made for. It encodes pictures every step; ours trains on moments that were encoded once.
  The autoencoder costs the share of the UNet's arithmetic that Stable Diffusion's does (46 % at 512 px).
- pixels: no autoencoder, so only the text encoder, the data and the loop itself make the difference.

In float32, and in bfloat16 as well where the CPU has instructions for it (elsewhere it takes 20 times as long).
Run `python bench/train_cpu.py [--rounds N] [--steps N] [--threads N] [--json]`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import AutoencoderKL, DDPMScheduler
from diffusers_loop import DiffusersLoop, Parts
from PIL import Image, ImageDraw
from torch.utils.data import DataLoader, Dataset
from transformers import AutoModel, AutoTokenizer

from t2i_api.attempt import AttemptDocument
from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import Progress
from t2i_api.spec_training import Precision
from t2i_dev.story.text_encoder import write_text_encoder
from t2i_trainer.checkpointing.saver import Saver
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.diffusion import scheduler_options
from t2i_trainer.interruption import Interruption
from t2i_trainer.prepare import prepare
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.trackers import Trackers
from t2i_trainer.train import Run
from t2i_trainer.world import World, make_deterministic

if TYPE_CHECKING:
    from collections.abc import Callable

# Diffusers carries no types of its own.
_VAE: Any = cast("Any", AutoencoderKL)
_DDPM: Any = cast("Any", DDPMScheduler)

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
    "block_out_channels": [64, 128],
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


class PicturesOfScript(Dataset[dict[str, torch.Tensor]]):
    """What the script's `with_transform` does for each sample: decode, scale, normalise; captions are token ids."""

    def __init__(self, pictures: list[tuple[Path, str]], encoder: Path) -> None:
        tokenizer: Any = AutoTokenizer.from_pretrained(encoder, local_files_only=True)
        captions = [caption for _, caption in pictures]
        self._tokens = tokenizer(
            captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).input_ids
        self._encoded = [path.read_bytes() for path, _ in pictures]

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = Image.open(io.BytesIO(self._encoded[index])).convert("RGB")
        image = image.resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1.0
        return {"pixel_values": pixels, "input_ids": self._tokens[index]}


def job_of(folder: Path, case: Case) -> DiffusionTrainingJob:
    """Return the job whose loop is measured."""
    unet = {**UNET, "in_channels": case.channels, "out_channels": case.channels}
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


def our_loop(folder: Path, case: Case) -> Callable[[], object]:
    """Return our loop's step, ready to run."""
    attempt = AttemptDocument(
        job_name="bench",
        job_namespace="default",
        job_uid="0123abcd",
        attempt=1,
        workers=1,
        processes_per_worker=1,
        rendezvous_address="127.0.0.1",
    )
    run_directory = folder / f"run-{case.name}"
    run_directory.mkdir()
    configuration = RunConfiguration(job_of(folder, case), attempt, "cpu", run_directory)
    world = World(accelerator_of(case.precision), 0, 0, 1, torch.device("cpu"))
    progress = Progress(attempt=1, world_size=1, target_steps=10**6, updated_at=datetime.now(UTC))
    telemetry = Telemetry(progress, BATCH)
    prepared = prepare(configuration, world, telemetry)
    prepared.state.step = PAST_THE_GATE
    saver = Saver(configuration, world, telemetry)
    run = Run(configuration, world, telemetry, Interruption(), prepared, saver, Trackers(()))
    run.begin()
    return run.advance


def their_loop(folder: Path, pictures: list[tuple[Path, str]], case: Case) -> Callable[[], object]:
    """Return the script's step, ready to run."""
    dtype = torch.bfloat16 if case.precision is Precision.BF16 else torch.float32
    encoder: Any = AutoModel.from_pretrained(folder / "encoder", local_files_only=True, use_safetensors=True)
    encoder.requires_grad_(requires_grad=False).to(dtype)
    vae: Any = _VAE.from_pretrained(folder / "vae")
    vae.requires_grad_(requires_grad=False).to(dtype)

    def encode_pixels(pixels: torch.Tensor) -> Any:
        if case.space == "pixels":
            return torch.nn.functional.pixel_unshuffle(pixels, UNSHUFFLE)
        return vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor

    spec = job_of(folder, case).spec
    parts = Parts(
        unet_config=spec.model.unet.resolved.to_diffusers(),
        scheduler=_DDPM(**scheduler_options(spec.diffusion)),
        encode_pixels=encode_pixels,
        encode_text=lambda tokens: encoder(tokens, return_dict=False)[0],
        loader=DataLoader(PicturesOfScript(pictures, folder / "encoder"), batch_size=BATCH, shuffle=True),
        learning_rate=spec.training.learning_rate,
        weight_decay=spec.training.weight_decay,
        max_grad_norm=spec.training.gradient_clip,
        ema_decay=spec.training.ema.decay,
    )
    return DiffusersLoop(parts, accelerator_of(case.precision)).step


def accelerator_of(precision: Precision) -> Accelerator:
    """Return an Accelerator of this precision.

    Accelerate keeps one precision a process, which `prepare` reads; so each loop is made before the next asks.
    """
    AcceleratorState._reset_state()  # noqa: SLF001  # has no public name
    return Accelerator(cpu=True, mixed_precision="bf16" if precision is Precision.BF16 else "no")


def measure(loops: dict[str, Callable[[], object]], rounds: int, steps: int) -> dict[str, float]:
    """Let the loops take turns; returns images per second, the median over the rounds."""
    for step in loops.values():
        for _ in range(3):
            step()
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds):
        order = list(loops)[:: 1 if number % 2 else -1]
        for name in order:
            started = time.perf_counter()
            for _ in range(steps):
                loops[name]()
            speeds[name].append(steps * BATCH / (time.perf_counter() - started))
        sys.stderr.write(f"round {number + 1} of {rounds}: {' '.join(f'{n} {s[-1]:.1f}' for n, s in speeds.items())}\n")
    return {name: statistics.median(each) for name, each in speeds.items()}


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def main() -> None:
    """Measure, print, and say the ratio."""
    options = _options()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    make_deterministic(torch.device("cpu"))
    precisions = [Precision.FP32, *([Precision.BF16] if has_bfloat16() else [])]
    found = []
    with tempfile.TemporaryDirectory(prefix="t2i-bench-") as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        pictures = draw_pictures(folder / "pictures")
        write_text_encoder(folder / "encoder")
        torch.manual_seed(0)
        _VAE(**VAE).save_pretrained(folder / "vae")
        for space in ("latents", "pixels"):
            cases = [Case(space, precision) for precision in precisions]
            loops: dict[str, Callable[[], object]] = {}
            for case in cases:
                loops[f"diffusers {case.name}"] = their_loop(folder, pictures, case)
                loops[f"ours {case.name}"] = our_loop(folder, case)
            speeds = measure(loops, options.rounds, options.steps)
            for case in cases:
                theirs, ours = speeds[f"diffusers {case.name}"], speeds[f"ours {case.name}"]
                found.append({"case": case.name, "diffusers": theirs, "ours": ours, "ratio": ours / theirs})
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for row in found:
        sys.stdout.write(
            f"{row['case']:14} Diffusers' loop {row['diffusers']:7.1f} images/s, ours {row['ours']:7.1f}: "
            f"{row['ratio']:.2f} times\n"
        )
    if Precision.BF16 not in precisions:
        sys.stdout.write("bfloat16: not measured, this CPU has no instructions for it\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="steps of a loop's turn")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
