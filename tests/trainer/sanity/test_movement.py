"""Which weights moved and by how much: random walks, decay alone, rounding, recorded rates."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from t2i_api.findings import Finding
from t2i_trainer.sanity.movement import Span, judge_averages, judge_movement, judge_rate, still_tensors


def names(findings: list[Finding]) -> list[str]:
    return [each.name for each in findings]


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


@pytest.mark.parametrize(
    ("stuck", "words"),
    [
        (set(), None),
        ({"classic"}, "final model would be drawn from the initial weights"),
        ({"classic", "0.05", "0.1"}, "final model would be drawn from the initial weights"),
        ({"0.05"}, "powerWidths 0.05 did not change in 10 steps"),
        ({"0.05", "0.1"}, "powerWidths 0.05, 0.1 did not change in 10 steps"),
    ],
)
def test_each_average_that_stays_while_the_weights_move_is_named(stuck: set[str], words: str | None) -> None:
    tensors = [f"{average}/{tensor}" for average in ("classic", "0.05", "0.1") for tensor in ("a.weight", "b.bias")]
    old = [np.zeros(4, dtype=np.float32) for _ in tensors]
    # One tensor that changes is enough: others may be too large for moves of fp32.
    new = [
        each + np.float32(1e-6 if name.endswith("b.bias") and name.partition("/")[0] not in stuck else 0)
        for name, each in zip(tensors, old, strict=True)
    ]
    said = judge_averages(tensors, old, new, step=10, steps=10)
    assert names(said) == ([] if words is None else ["EmaStuck"])
    assert all(words in each.sentence for each in said if words)
