"""Where losses begin and by when they are below the trivial answer, on recorded and on simulated losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from t2i_api.findings import Finding
from t2i_api.spec_training import PredictionType
from t2i_trainer.sanity.losses import LearningCheck, judge_first_loss
from t2i_trainer.sanity.theory import DataScale, Levels, levels
from t2i_trainer.step_result import StepResult


def names(findings: list[Finding]) -> list[str]:
    return [each.name for each in findings]


@pytest.mark.parametrize(
    ("loss", "found"), [(0.909, []), (0.962, []), (0.80, []), (0.3, ["InitialLoss"]), (12.6, ["InitialLoss"])]
)
def test_the_first_loss_is_that_of_a_random_unet(loss: float, found: list[str]) -> None:
    assert names(judge_first_loss(loss, 0.804, 12, 1)) == found


LEVEL = 0.774


def learning(mean_picture: float = 0.0) -> LearningCheck:
    """The check of a run like those of docs/planted-faults.md; `mean_picture` is the trivial answer's gain on zero."""
    flat = levels(np.full(1000, 0.5), PredictionType.EPSILON, DataScale(1, 1))
    scaled = Levels(flat.power * LEVEL, flat.trivial * (LEVEL - mean_picture))
    return LearningCheck.of_run(scaled, [3e-3] * 1000, 9 * 24, 32)


def result(step: int, loss: float, power: float = LEVEL, *, quarters: Sequence[float | None] = ()) -> StepResult:
    """A step whose loss and target power are these, in every quarter but where said."""
    return StepResult(
        step=step,
        loss=loss,
        gradient_norm=1.0,
        learning_rate=3e-3,
        quartile_losses=tuple(quarters) or (loss,) * 4,
        quartile_powers=(power,) * 4,
        target_power=power,
    )


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([0.9, *[0.6] * 199], []),
        ([0.9] * 200, ["TrivialAnswer"]),
        ([LEVEL] * 200, ["TrivialAnswer"]),  # a zero output that stays
        ([0.9] * 60, []),  # before the deadline
        ([math.nan] * 200, []),
    ],
)
def test_a_run_leaves_the_trivial_answer_by_the_deadline(losses: list[float], found: list[str]) -> None:
    check = learning()
    said = [each for step, loss in enumerate(losses, 1) for each in check.observe(result(step, loss))]
    assert names(said) == found


def test_a_run_that_only_learns_the_mean_picture_has_learnt_nothing() -> None:
    check = learning(mean_picture=0.2)
    said = [each for step in range(1, 200) for each in check.observe(result(step, LEVEL - 0.2))]
    assert names(said) == ["TrivialAnswer"]
    assert "0.5740 on the same samples" in said[0].sentence


@pytest.mark.parametrize("share", [0.85, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_pictures_that_are_easy_or_hard_by_chance_change_no_judgement(share: float, seed: int) -> None:
    """The loss is the same share of the target's power at every step; the power itself varies by half."""
    generator, check, said = np.random.default_rng(seed), learning(), []
    for step in range(1, 200):
        power = LEVEL * float(generator.lognormal(0, 0.5))
        said += check.observe(result(step, share * power, power))
    assert names(said) == ([] if share < 1 else ["TrivialAnswer"])


@pytest.mark.parametrize(("fourth", "found"), [(0.9, ["QuartileStuck"]), (0.80, []), (None, [])])
def test_a_quarter_of_the_timesteps_that_is_worse_than_trivial_is_named(fourth: float | None, found: list[str]) -> None:
    check = learning()
    said = [
        each for step in range(1, 200) for each in check.observe(result(step, 0.6, quarters=(0.7, 0.6, 0.5, fourth)))
    ]
    assert names(said) == found
    assert all("quarter 4" in each.sentence for each in said)


@pytest.mark.parametrize("seed", range(10))
def test_a_quarter_that_only_scatters_around_the_trivial_answer_is_not_named(seed: int) -> None:
    """Eight samples a step, whose losses differ from zero's by a tenth either way."""
    generator, check = np.random.default_rng(seed), learning()
    for step in range(1, 400):
        fourth = LEVEL + float(generator.normal(0, 0.1, 8).mean())
        assert check.observe(result(step, 0.6, quarters=(0.7, 0.6, 0.5, fourth))) == []
