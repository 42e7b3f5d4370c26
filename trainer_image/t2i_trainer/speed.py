"""How fast a run is, measured without a wait on the device: wait for data, utilisation (MFU), GPU memory."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from t2i_trainer.flops import peak_flops, training_flops_per_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_api.job import JobSpec
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.rank_figures import RankFigures
    from t2i_trainer.step_result import StepResult
    from t2i_trainer.world import World


class Speed:
    """One rank's measures; `begin` counts the arithmetic of a step once, where a peak to compare it with is known."""

    def __init__(self, spec: JobSpec, world: World, figures: RankFigures) -> None:
        self._config = spec.model.unet.resolved
        self._share = spec.training.global_batch_size // world.size
        self._device = world.device
        self._figures = figures
        self._seconds_at_peak: float | None = None
        self._memory_size = (
            torch.cuda.get_device_properties(world.device).total_memory if world.device.type == "cuda" else 0
        )

    def begin(self, batch: Batch) -> None:
        """Count what one image costs; takes about a second for SD 1.5."""
        peak = peak_flops(self._device)
        if peak is None:
            return
        side, tokens = batch.latents.shape[-1], batch.conditioning.shape[1]
        flops = training_flops_per_image(self._config, side=side, tokens=tokens)
        self._seconds_at_peak = flops * self._share / peak

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as wait for data."""
        started = time.monotonic()
        yield
        self._figures.waited(time.monotonic() - started)

    def hear(self, result: StepResult) -> None:
        """Take note of a step's duration."""
        if self._seconds_at_peak is not None and result.seconds:
            self._figures.utilised(self._seconds_at_peak / result.seconds)
        if self._device.type == "cuda":
            self._figures.remembered(torch.cuda.max_memory_allocated(self._device), self._memory_size)
