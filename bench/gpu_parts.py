"""What `train_gpu.py` trains on and measures with: sizes, data of the right shape, steps whose parts are timed."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import Dataset

from t2i_api.job import JobSpec
from t2i_api.spec_training import Precision
from t2i_dev.small_unet import small_unet
from t2i_trainer.data.samples import Taken
from t2i_trainer.optim import set_learning_rate
from t2i_trainer.step import TrainStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from t2i_trainer.data.feed import Batch

SAMPLES = 512
TINY_UNET = small_unet((32, 64), text_width=64, in_channels=4, out_channels=4, attention_head_dim=8, norm_num_groups=8)


@dataclass(frozen=True)
class Size:
    """What is trained: pictures of `pixels`, latents of an eighth of it, captions of `tokens` x `width`."""

    pixels: int
    batch: int
    tokens: int = 77
    width: int = 768
    tiny: bool = False

    @property
    def side(self) -> int:
        """Side of the latents."""
        return self.pixels // 8

    def spec(self, **training: Any) -> JobSpec:
        """Return the job's spec."""
        unet = {"config": TINY_UNET} if self.tiny else {"preset": "stable-diffusion-v1"}
        nowhere = "file:///nowhere"
        return JobSpec.model_validate(
            {
                "model": {"unet": unet, "textEncoder": {"uri": nowhere}, "vae": {"uri": nowhere}},
                "data": {"uri": nowhere, "resolution": self.pixels},
                "diffusion": {"schedule": "ScaledLinear", "predictionType": "Epsilon"},
                "training": {
                    "steps": 10**6,
                    "globalBatchSize": self.batch,
                    "learningRate": 1e-4,
                    "precision": Precision.BF16,
                    **training,
                },
                "checkpoint": {"uri": nowhere},
                "workers": {"gpusPerWorker": 0 if self.tiny else 1},
            }
        )


class RandomMoments:
    """Cached moments and embeddings of no picture at all; the numbers do not change the speed."""

    sha256 = "0" * 64

    def __init__(self, size: Size) -> None:
        generator = torch.Generator().manual_seed(0)
        mean = torch.randn(SAMPLES, 4, size.side, size.side, generator=generator)
        self._moments = torch.cat([mean, torch.full_like(mean, -4.0)], 1).half()
        self._texts = torch.randn(SAMPLES, size.tokens, size.width, generator=generator)

    def __len__(self) -> int:
        return SAMPLES

    def take(self, rows: NDArray[np.int64]) -> Taken:
        """Gather."""
        chosen = torch.from_numpy(rows)
        return Taken(self._moments[chosen], self._texts[chosen])

    def expect(self, shards: Sequence[int]) -> None:
        """There are none."""


class RandomPictures(Dataset[dict[str, torch.Tensor]]):
    """Pixels and token ids for the script's loop, already decoded."""

    def __init__(self, size: Size, words: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self._pixels = torch.rand(64, 3, size.pixels, size.pixels, generator=generator) * 2 - 1
        self._tokens = torch.randint(0, words, (64, size.tokens), generator=generator)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self._pixels[index % 64], "input_ids": self._tokens[index % 64]}


class Spans:
    """Time by part of a step, on the device's clock."""

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any, Any]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is launched inside."""
        begin = self._mark()
        yield
        self._marks.append((name, begin, self._mark()))

    def milliseconds(self) -> dict[str, float]:
        """Return the sum of each part."""
        if self._on_cuda:
            torch.cuda.synchronize()
        sums: dict[str, float] = {}
        for name, begin, end in self._marks:
            spent = begin.elapsed_time(end) if self._on_cuda else (end - begin) * 1000
            sums[name] = sums.get(name, 0.0) + spent
        return sums

    def _mark(self) -> Any:
        if not self._on_cuda:
            return time.perf_counter()
        event = cast("Any", torch.cuda.Event)(enable_timing=True)
        event.record()
        return event


class TimedStep(TrainStep):
    """The same step, its parts measured."""

    spans: Spans

    def _losses(self, part: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with self.spans.part("forward"):
            return super()._losses(part)

    def _add_gradients(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with self.spans.part("forward and backward"):
            return super()._add_gradients(batch)

    def _totals(
        self, losses: torch.Tensor, powers: torch.Tensor, timesteps: torch.Tensor, norm: torch.Tensor
    ) -> torch.Tensor:
        with self.spans.part("measures"):
            return super()._totals(losses, powers, timesteps, norm)

    def _update(self, number: int, rate: float, skipped: torch.Tensor) -> None:
        with self.spans.part("AdamW and EMA"):
            super()._update(number, rate, skipped)


class UnfusedStep(TrainStep):
    """AdamW as the script has it; it cannot be told on the device to leave a step out."""

    def _update(self, number: int, rate: float, skipped: torch.Tensor) -> None:  # noqa: ARG002  # it cannot be told
        set_learning_rate(self.state.optimizer, rate)
        self.state.optimizer.step()
        self._clear_gradients()
        self.state.ema.update(number)
