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
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import AutoModel, AutoTokenizer

from diffusers_loop import DiffusersLoop, Parts
from small_job import (
    BATCH,
    MAX_TOKENS,
    RESOLUTION,
    UNSHUFFLE,
    Case,
    accelerator_of,
    job_of,
    make_run,
    write_sources,
)
from t2i_api.spec_training import Precision
from t2i_trainer.diffusion import scheduler_options
from t2i_trainer.world import make_deterministic

if TYPE_CHECKING:
    from collections.abc import Callable

# Diffusers carries no types of its own.
_VAE: Any = cast("Any", AutoencoderKL)
_DDPM: Any = cast("Any", DDPMScheduler)


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
        pictures = write_sources(folder)
        for space in ("latents", "pixels"):
            cases = [Case(space, precision) for precision in precisions]
            loops: dict[str, Callable[[], object]] = {}
            for case in cases:
                loops[f"diffusers {case.name}"] = their_loop(folder, pictures, case)
                loops[f"ours {case.name}"] = make_run(folder, case).advance
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
