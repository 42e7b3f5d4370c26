"""What a batch must look like: recorded numbers of healthy runs and of planted faults, and chance alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.findings import Finding
from t2i_trainer.data.feed import Batch
from t2i_trainer.sanity.batches import (
    BatchFacts,
    judge_null,
    judge_rank_noise,
    judge_rank_weights,
    judge_scale,
    judge_target,
    measure,
)


def names(findings: list[Finding]) -> list[str]:
    return [each.name for each in findings]


def facts(deviation: float, mean: float = 0.0, target: float = 1.0, expected: float = 1.0) -> BatchFacts:
    numbers = 100_000
    return BatchFacts(
        numbers,
        mean * numbers,
        (deviation**2 + mean**2) * numbers,
        target * numbers,
        expected * numbers,
        32,
        3,
    )


@pytest.mark.parametrize(
    ("deviation", "factor", "found"),
    [
        (0.80, None, []),  # the planted faults' pictures
        (0.43, None, []),  # black text on white paper
        (0.146, None, ["LatentScale"]),  # the same pictures, times 0.18215
        (1.0, 0.18215, []),
        (0.62, 0.18215, []),  # flat drawings
        (0.18, 0.18215, ["LatentScale"]),
        (5.5, 0.18215, ["LatentScale"]),
        (0.13, 0.13025, ["LatentScale"]),
        (0.7, 1.5305, []),
        (1.0, 1.0, []),
        (math.nan, 0.18215, []),
    ],
)
def test_latents_have_the_size_that_the_schedule_is_made_for(
    deviation: float, factor: float | None, found: list[str]
) -> None:
    assert names(judge_scale(facts(deviation), factor, 1)) == found


@pytest.mark.parametrize(("target", "found"), [(1.02, []), (0.98, []), (0.25, ["TargetScale"]), (2.0, ["TargetScale"])])
def test_the_target_has_the_power_that_the_schedule_gives(target: float, found: list[str]) -> None:
    assert names(judge_target(facts(1.0, target=target), 1)) == found


@pytest.mark.parametrize(
    ("samples", "nulls", "dropout", "found"),
    [
        (32, 0, 0.1, []),  # 3 % of healthy first batches
        (224, 0, 0.1, ["NullEmbeddingUnseen"]),
        (1000, 80, 0.1, []),
        (1000, 20, 0.1, ["NullEmbeddingUnseen"]),
        (1000, 0, 0.0, []),
        (1000, 400, 0.1, []),  # a data set with empty captions
    ],
)
def test_dropped_captions_are_the_null_embedding_of_sampling(
    samples: int, nulls: int, dropout: float, found: list[str]
) -> None:
    assert names(judge_null(samples, nulls, dropout, 9)) == found


@given(st.integers(1, 5000), st.sampled_from([0.05, 0.1, 0.5]), st.integers(0, 2**31))
def test_chance_alone_never_looks_like_a_wrong_null_embedding(samples: int, dropout: float, seed: int) -> None:
    drawn = int(np.random.default_rng(seed).binomial(samples, dropout))
    assert judge_null(samples, drawn, dropout, 1) == []


def test_ranks_draw_other_noise_and_hold_the_same_weights() -> None:
    assert judge_rank_noise([1.0, 2.0], 1) == []
    assert names(judge_rank_noise([1.0, 2.0, 1.0], 1)) == ["RankNoiseEqual"]
    assert judge_rank_weights([5.0, 5.0], 1) == []
    assert names(judge_rank_weights([5.0, 5.5], 1)) == ["RankWeightsDiffer"]


def test_a_batch_is_measured_as_it_is() -> None:
    torch.manual_seed(0)
    null = torch.zeros(3, 9)
    text = torch.randn(4, 3, 9)
    text[1] = null
    latents = torch.full((4, 2, 8, 8), 0.5)
    given_batch = Batch(latents, torch.randn(latents.shape), torch.arange(4) * 10, text)
    kept = torch.linspace(1, 0, 1000)
    sums = measure(given_batch, torch.ones(4, 2, 8, 8), kept, 1.0, null)
    found = BatchFacts.from_list(sums.tolist())
    assert (found.samples, found.null_samples, found.numbers) == (4, 1, 512)
    assert found.deviation == pytest.approx(0, abs=1e-6)
    share = float(kept[given_batch.timesteps].double().mean())
    assert found.target_power == pytest.approx(share + (1 - share) * 0.25)
