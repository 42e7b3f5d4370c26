"""Stable Diffusion 1.5 on one GPU: images/s and MFU at 256 and 512 px, beside Diffusers' loop; what each lever gives.

One command, under eight minutes on an H100 or H200; what the time does not suffice for is left out and named. Ours
trains from cached moments (random ones of the right shape) through the real feed and the real step; the script's loop
encodes pictures and captions every step with an autoencoder and a text encoder of Stable Diffusion's shape. A lever's
figure is ours without it. Besides: a step's time by part, the GPU's memory, and the proof that the host never waits
within a step (torch's own check, set to raise).
Run `python bench/train_gpu.py [--minutes 8] [--json FILE]`; `--device cpu --tiny` runs all of it with a toy model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from accelerate import Accelerator

from gpu_loops import our_loop, their_loop
from gpu_parts import Size, Spans, TimedStep, UnfusedStep
from t2i_api.spec_training import Compile, Precision
from t2i_trainer.flops import peak_flops, training_flops_per_image
from t2i_trainer.model import build_unet
from t2i_trainer.step import TrainStep
from t2i_trainer.world import World, make_deterministic

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_trainer.data.prefetch import PrefetchingFeed

WARM_UP, STEPS = 3, 12


@dataclass
class Bench:
    """One run of everything; `rows` is what is printed and written."""

    device: torch.device
    tiny: bool
    deadline: float
    compiles: bool = True
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision="bf16")
        self.world = World(self.accelerator, 0, 0, 1, self.device)
        self._unet: torch.nn.Module | None = None

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.monotonic()

    def measure(self, size: Size) -> None:
        """Measure one resolution."""
        flops = training_flops_per_image(size.spec().model.unet.resolved, side=size.side, tokens=size.tokens)
        self._unet = build_unet(size.spec(), self.device)
        eager = self._ours(size, "ours, eager", flops)
        if eager is None:
            return
        self._breakdown(size)
        self._prove_no_wait(size)
        if self.enough("Diffusers' loop", 40):
            self._theirs(size, flops)
        if self.compiles and self.enough("WholeGraph", 150):
            self._ours(size, "ours, WholeGraph", flops, compile=Compile.WHOLE_GRAPH)

    def levers(self, size: Size) -> None:
        """Measure ours without each lever."""
        flops = training_flops_per_image(size.spec().model.unet.resolved, side=size.side, tokens=size.tokens)
        self._unet = build_unet(size.spec(), self.device)
        self._ours(size, "all levers, eager", flops)
        if self.enough("averages every 8 steps", 15):
            self._ours(size, "averages every 8 steps", flops, ema={"everySteps": 8})
        if self.enough("without fused AdamW", 15):
            self._ours(size, "without fused AdamW", flops, fused=False)
        if self.enough("with a wait every step", 15):
            self._ours(size, "with a wait every step", flops, waits=True)
        if self.enough("without determinism", 15):
            torch.use_deterministic_algorithms(mode=False)
            torch.backends.cudnn.benchmark = True
            self._ours(size, "without determinism, cuDNN chooses", flops)
            make_deterministic(self.device)
            torch.backends.cudnn.benchmark = False
        if self.enough("in float32", 25):
            self._ours(size, "in float32", flops, precision=Precision.FP32)
        if self.enough("without channels_last", 20):
            self._unet.to(memory_format=torch.contiguous_format)
            self._ours(size, "without channels_last", flops)

    def enough(self, what: str, seconds: float) -> bool:
        """Whether the time suffices; says so where it does not."""
        if self.tiny or self.left() > seconds:
            return True
        self.note({"name": what, "left_out": "no time"})
        return False

    def note(self, row: dict[str, Any]) -> None:
        """Keep a row and print it."""
        self.rows.append(row)
        sys.stdout.write(_line(row) + "\n")
        sys.stdout.flush()

    def _ours(  # levers by name
        self, size: Size, name: str, flops: int, *, fused: bool = True, waits: bool = False, **training: Any
    ) -> float | None:
        step, feed = self._ready(size, TrainStep if fused else UnfusedStep, fused=fused, **training)

        def take() -> None:
            step.take(feed.batch(step.state.step))
            for _ in step.stream.drain() if waits else step.stream.ready():
                pass

        try:
            started = time.perf_counter()
            step.warm_up(feed.batch(0))
            prepared = time.perf_counter() - started
            return self._time(name, size, flops, take, begun_in=prepared)
        except torch.OutOfMemoryError:
            self.note({"name": name, "pixels": size.pixels, "batch": size.batch, "left_out": "out of memory"})
            return None
        finally:
            feed.close()

    def _theirs(self, size: Size, flops: int) -> None:
        self._unet = None  # the script holds a model of its own
        try:
            self._time("Diffusers' loop", size, flops, their_loop(size, self.device, self.accelerator).step)
        except torch.OutOfMemoryError:
            self.note(
                {"name": "Diffusers' loop", "pixels": size.pixels, "batch": size.batch, "left_out": "out of memory"}
            )
        self._unet = build_unet(size.spec(), self.device)

    def _time(
        self, name: str, size: Size, flops: int, take: Callable[[], object], *, begun_in: float | None = None
    ) -> float:
        for _ in range(WARM_UP):
            take()
        self._wait()
        started = time.perf_counter()
        for _ in range(STEPS):
            take()
        self._wait()
        speed = STEPS * size.batch / (time.perf_counter() - started)
        peak = peak_flops(self.device)
        memory = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
        row: dict[str, Any] = {"name": name, "pixels": size.pixels, "batch": size.batch, "images_per_second": speed}
        row |= {"mfu": None if peak is None else flops * speed / peak, "memory_bytes": memory, "begun_in_s": begun_in}
        self.note(row)
        return speed

    def _breakdown(self, size: Size) -> None:
        step, feed = self._ready(size, TimedStep)
        timed = cast("TimedStep", step)
        spans = timed.spans = Spans(self.device)
        for number in range(WARM_UP + STEPS):
            if number == WARM_UP:
                spans = timed.spans = Spans(self.device)
            with spans.part("whole step"):
                with spans.part("batch"):
                    batch = feed.batch(step.state.step)
                step.take(batch)
            for _ in step.stream.ready():
                pass
        feed.close()
        parts = {name: spent / STEPS for name, spent in spans.milliseconds().items()}
        parts["backward"] = parts.pop("forward and backward") - parts["forward"]
        named = sum(spent for name, spent in parts.items() if name != "whole step")
        parts["clipping and the rest"] = parts["whole step"] - named
        self.note({"name": "a step by part", "pixels": size.pixels, "milliseconds": parts})

    def _prove_no_wait(self, size: Size) -> None:
        """Let torch raise at the first wait of the host within a step."""
        if self.device.type != "cuda":
            return
        step, feed = self._ready(size, TrainStep)
        step.take(feed.batch(0))
        list(step.stream.drain())
        batch = feed.batch(1)
        torch.cuda.synchronize()
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step.take(batch)
        finally:
            torch.cuda.set_sync_debug_mode(before)
        list(step.stream.drain())
        feed.close()
        self.note({"name": "no wait within a step", "pixels": size.pixels, "proved": True})

    def _ready(self, size: Size, kind: type[TrainStep], **levers: Any) -> tuple[TrainStep, PrefetchingFeed]:
        if self._unet is None:
            raise RuntimeError("no model was built")
        return our_loop(self._unet, size, self.world, kind, **levers)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _line(row: dict[str, Any]) -> str:
    where = f"{row['pixels']:4} px  " if "pixels" in row else " " * 9
    if "left_out" in row:
        return f"{where}{row['name']:36} left out: {row['left_out']}"
    if "milliseconds" in row:
        return f"{where}{row['name']:36} " + ", ".join(f"{k} {v:.2f} ms" for k, v in row["milliseconds"].items())
    if "proved" in row:
        return f"{where}{row['name']:36} proved"
    mfu = "" if row["mfu"] is None else f", MFU {100 * row['mfu']:.1f} %"
    memory = "" if row["memory_bytes"] is None else f", {row['memory_bytes'] / 2**30:.1f} GiB"
    begun = f", ready after {row['begun_in_s']:.0f} s" if row["begun_in_s"] and row["begun_in_s"] > 1 else ""
    return (
        f"{where}{row['name']:36} {row['images_per_second']:8.1f} images/s at batch {row['batch']}{mfu}{memory}{begun}"
    )


def main() -> None:
    """Measure and print as it goes."""
    options = _options()
    warnings.filterwarnings("ignore")
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device is there: run on a machine with a GPU, or rehearse with --device cpu --tiny")
    make_deterministic(device)
    bench = Bench(device, options.tiny, time.monotonic() + 60 * options.minutes, not options.eager)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    sys.stdout.write(f"{name}, torch {torch.__version__}\n")
    small, large = Size(256, options.batch_256), Size(512, options.batch_512)
    if options.tiny:
        small = Size(64, 4, tokens=8, width=64, tiny=True)
        large = replace(small, pixels=128)
    with tempfile.TemporaryDirectory(prefix="t2i-bench-") as cache:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", cache)
        bench.measure(large)
        bench.measure(small)
        bench.levers(small)
    if options.json is not None:
        options.json.write_text(json.dumps({"device": name, "torch": torch.__version__, "rows": bench.rows}, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a toy model, to try the script itself")
    parser.add_argument("--eager", action="store_true", help="leave WholeGraph out")
    parser.add_argument("--batch-256", type=int, default=128)
    parser.add_argument("--batch-512", type=int, default=32)
    parser.add_argument("--json", type=Path, help="write the rows there as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
