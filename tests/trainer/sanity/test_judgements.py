"""Each judgement of the gate on recorded numbers: what healthy runs measured, and what planted faults did."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from t2i_api.spec_training import PredictionType, Training
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
from t2i_trainer.sanity.captions import CaptionGap, judge_gap
from t2i_trainer.sanity.losses import LearningCheck, judge_first_loss
from t2i_trainer.sanity.movement import Span, judge_average, judge_movement, judge_rate, still_tensors
from t2i_trainer.sanity.probe import Probe, fingerprint, trained
from t2i_trainer.sanity.rates import RateProbe, scheduled_rate
from t2i_trainer.sanity.repeats import RepeatCheck, batch_fingerprint
from t2i_trainer.sanity.theory import DataScale, levels


def names(findings: list[Any]) -> list[str]:
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


def gap(right: float, wrong: float, reaction: float, significance: float) -> CaptionGap:
    return CaptionGap(right, wrong, (right + wrong) / 2, reaction, 0.80, significance)


@pytest.mark.parametrize(
    ("measured", "step", "passes", "found"),
    [
        (gap(0.881, 0.881, 2.5e-4, -1.6), 1, 0.4, []),
        (gap(0.881, 0.881, 0.0, 0.0), 1, 0.4, ["CaptionsIgnored"]),
        (gap(0.340, 0.529, 0.134, 1.8), 200, 71, []),  # healthy, 16 pictures
        (gap(0.309, 0.576, 0.267, 4.9), 200, 71, []),
        (gap(0.360, 0.360, 1.2e-5, 0.9), 200, 71, ["CaptionsDoNotHelp"]),  # captions shuffled in each batch
        (gap(0.360, 0.360, 1.2e-5, 0.9), 200, 3, []),  # large data: too early to say
        (gap(0.360, 0.360, 1.2e-5, 0.9), 100, 71, []),
        (gap(0.9, 0.2, 0.5, -9.0), 200, 71, ["CaptionsDoNotHelp"]),
        (gap(math.nan, 0.2, 0.5, -9.0), 200, 71, []),
    ],
)
def test_captions_reach_the_model_and_help_it(measured: CaptionGap, step: int, passes: float, found: list[str]) -> None:
    assert names(judge_gap(measured, step=step, passes=passes, trivial=0.774)) == found


@pytest.mark.parametrize(
    ("loss", "found"), [(0.909, []), (0.962, []), (0.80, []), (0.3, ["InitialLoss"]), (12.6, ["InitialLoss"])]
)
def test_the_first_loss_is_that_of_a_random_unet(loss: float, found: list[str]) -> None:
    assert names(judge_first_loss(loss, 0.804, 12, 1)) == found


def learning(level: float = 0.774) -> LearningCheck:
    flat = levels(np.full(1000, 0.5), PredictionType.EPSILON, DataScale(1, 1))
    scaled = type(flat)(flat.power * level, flat.trivial * level)
    return LearningCheck.of_run(scaled, [3e-3] * 1000, 9 * 24, 32)


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([0.9, *[0.6] * 199], []),
        ([0.9] * 200, ["TrivialAnswer"]),
        ([0.774] * 200, ["TrivialAnswer"]),  # a zero output that stays
        ([0.9] * 60, []),  # before the deadline
        ([math.nan] * 200, []),
    ],
)
def test_a_run_leaves_the_trivial_answer_by_the_deadline(losses: list[float], found: list[str]) -> None:
    check = learning()
    said = [each for step, loss in enumerate(losses, 1) for each in check.observe(step, loss, [loss] * 4)]
    assert names(said) == found


def test_a_quarter_of_the_timesteps_that_is_worse_than_trivial_is_named() -> None:
    check = learning()
    said = [each for step in range(1, 200) for each in check.observe(step, 0.6, [0.7, 0.6, 0.5, 0.9])]
    assert names(said) == ["QuartileStuck"]
    assert "quarter 4" in said[0].sentence


def walk(seed: int, steps: int, rate: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    start = generator.normal(0, 0.05, 256).astype(np.float32)
    return start, (start + rate * generator.choice([-1, 1], (steps, 256)).sum(0)).astype(np.float32)


def test_a_random_walk_moves_and_weight_decay_alone_does_not() -> None:
    span = Span((1e-3,) * 500, 0.01)
    start, moved = walk(0, 500, 1e-3)
    decayed = (start * np.float32(span.shrinkage)).astype(np.float32)
    assert still_tensors([start] * 3, [moved, start, decayed], span).tolist() == [False, True, True]


def test_moves_that_fp32_cannot_show_are_not_missed() -> None:
    start = np.ones(256, dtype=np.float32)
    assert not still_tensors([start], [start], Span((1e-9,) * 50, 0.0))[0]


@pytest.mark.parametrize(
    ("still", "found"),
    [
        ([False, False, False], []),
        ([True, True, True], ["NoWeightMoves"]),
        ([False, False, True], ["OutputLayerStuck"]),
        ([True, False, False], ["FrozenWeights"]),
        ([True, False, True], ["OutputLayerStuck", "FrozenWeights"]),
    ],
)
def test_what_stands_still_is_named(still: list[bool], found: list[str]) -> None:
    tensors = ["down_blocks.0.conv1.weight", "mid_block.norm.weight", "conv_out.weight"]
    assert names(judge_movement(tensors, np.array(still), 50, 50)) == found


def test_an_output_layer_that_stays_zero_is_the_cause_of_all_that_stands_still() -> None:
    tensors = ["mid_block.norm.weight", "conv_out.weight"]
    still = np.array([True, True])
    assert names(judge_movement(tensors, still, 50, 50, output_is_zero=True)) == ["OutputLayerStuck"]


@pytest.mark.parametrize(
    ("measured", "world", "found", "words"),
    [
        (1.01e-4, 1, [], ""),
        (None, 1, [], ""),
        (2e-4, 2, ["LearningRate"], "world size"),
        (8e-4, 2, ["LearningRate"], "more or less often"),
    ],
)
def test_the_rate_that_moved_the_weights_is_the_schedules(
    measured: float | None, world: int, found: list[str], words: str
) -> None:
    said = judge_rate(measured, 1e-4, 5, world)
    assert names(said) == found
    assert all(words in each.sentence for each in said)


def test_an_average_that_stays_while_the_weights_move_is_named() -> None:
    old = [np.zeros(4, dtype=np.float32)]
    new = [np.full(4, 1e-6, dtype=np.float32)]
    assert judge_average(old, new, moved=True, step=10, steps=10) == []
    assert names(judge_average(old, old, moved=True, step=10, steps=10)) == ["EmaStuck"]
    assert judge_average(old, old, moved=False, step=10, steps=10) == []


def test_the_rate_is_read_out_of_adamws_own_moments() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=0.1)
    probe = RateProbe(optimizer)
    assert probe.measure() is None
    for rate in (1e-2, 3e-3, 3e-3):
        optimizer.param_groups[0]["lr"] = rate
        probe.hold()
        layer(torch.randn(4, 8)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert probe.measure() == pytest.approx(rate, rel=1e-3)


def test_the_schedule_of_rates_is_the_specs() -> None:
    training = Training(steps=100, global_batch_size=4, learning_rate=0.01, warmup_steps=10)
    assert [scheduled_rate(step, training) for step in (1, 10, 50)] == pytest.approx([0.001, 0.01, 0.01])


def test_a_probe_follows_weights_of_any_memory_format() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), torch.nn.Linear(3, 2)).to(memory_format=torch.channels_last)
    probe = Probe(trained(module, untrained=("1.bias",)), numbers=5)
    before = probe.look()
    assert probe.names == ("0.weight", "0.bias", "1.weight")
    assert [len(each) for each in probe.split(before)] == [5, 5, 5]
    with torch.no_grad():
        next(module.parameters())[0, 0, 0, 0] += 1
    assert fingerprint(before) == fingerprint(before.clone())
    assert fingerprint(before) != fingerprint(probe.look())


def batch(latents: torch.Tensor, text: torch.Tensor) -> Batch:
    times = torch.arange(len(latents)) * 10
    return Batch(latents=latents, noise=torch.randn(latents.shape), timesteps=times, conditioning=text)


def test_a_batch_is_measured_as_it_is() -> None:
    torch.manual_seed(0)
    null = torch.zeros(3, 9)
    text = torch.randn(4, 3, 9)
    text[1] = null
    given_batch = batch(torch.full((4, 2, 8, 8), 0.5), text)
    kept = torch.linspace(1, 0, 1000)
    sums = measure(given_batch, torch.ones(4, 2, 8, 8), kept, 1.0, null)
    found = BatchFacts.from_list(sums.tolist())
    assert (found.samples, found.null_samples, found.numbers) == (4, 1, 512)
    assert found.deviation == pytest.approx(0, abs=1e-6)
    share = float(kept[given_batch.timesteps].double().mean())
    assert found.target_power == pytest.approx(share + (1 - share) * 0.25)


def test_a_batch_that_was_seen_is_recognised_in_this_attempt_and_the_next() -> None:
    torch.manual_seed(0)
    first, second = (batch(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 1)) for _ in range(2))
    marks = [batch_fingerprint(each) for each in (first, second)]
    assert None not in marks
    check = RepeatCheck({5: str(marks[0])})
    assert check.observe(6, marks[1]) == []
    (finding,) = check.observe(7, marks[0])
    assert (finding.name, "step 5" in finding.sentence) == ("RepeatedData", True)
    assert check.observe(8, marks[1]) == []  # said once
