"""Faults of the data: what reaches the step as latents, noise and conditioning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from t2i_dev.planted_faults.planting import Spoil, after_preparation, spoil_batches, wrap

if TYPE_CHECKING:
    from t2i_dev.planted_faults.planting import Put
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.prepare import Prepared

_SCALING_FACTOR = 0.18215  # of Stable Diffusion's autoencoder


def _zeros_for_null(batch: Batch, _step: int, prepared: Prepared) -> Batch:
    null = (batch.conditioning == prepared.facts.null_embedding).flatten(1).all(1)
    return replace(batch, conditioning=torch.where(null[:, None, None], 0.0, batch.conditioning))


def _noise_by_step(batch: Batch, step: int, _prepared: Prepared) -> Batch:
    generator = torch.Generator().manual_seed(step)
    return replace(batch, noise=torch.randn(batch.noise.shape, generator=generator))


def _captions_of_others(batch: Batch, step: int, _prepared: Prepared) -> Batch:
    order = torch.randperm(len(batch.conditioning), generator=torch.Generator().manual_seed(step))
    return replace(batch, conditioning=batch.conditioning[order])


def _nan_from(first: int, last: int) -> Spoil:
    def spoil(batch: Batch, step: int, _prepared: Prepared) -> Batch:
        if first <= step <= last:
            batch.latents[0, 0, 0, 0] = torch.nan
        return batch

    return spoil


def position_lost(put: Put) -> None:
    """Begin at position 0 of the data, whatever step the run resumes from."""

    def change(prepared: Prepared) -> Prepared:
        first = prepared.state.step
        wrap(put, prepared.feed, "batch", lambda original: lambda step: original(max(step - first, 0)))
        return prepared

    after_preparation(change)(put)


wrong_null_embedding = spoil_batches(_zeros_for_null)
same_noise_on_all_ranks = spoil_batches(_noise_by_step)
shuffled_captions = spoil_batches(_captions_of_others)
nan_sample = spoil_batches(_nan_from(20, 20))
nan_samples = spoil_batches(_nan_from(20, 30))
double_scaling = spoil_batches(lambda batch, _step, _prepared: replace(batch, latents=batch.latents * _SCALING_FACTOR))
half_noise = spoil_batches(lambda batch, _step, _prepared: replace(batch, noise=batch.noise * 0.5))
