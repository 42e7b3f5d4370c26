"""Whether captions are understood, judged on recorded evaluations of healthy runs and of planted faults."""

from __future__ import annotations

import math

import pytest

from t2i_api.findings import Finding
from t2i_trainer.sanity.captions import CaptionGap, judge_gap


def names(findings: list[Finding]) -> list[str]:
    return [each.name for each in findings]


def gap(right: float, wrong: float, reaction: float, significance: float, *, answer: float = 0.1) -> CaptionGap:
    return CaptionGap(right, wrong, (right + wrong) / 2, answer, reaction, 0.80, significance)


@pytest.mark.parametrize(
    ("measured", "step", "passes", "found"),
    [
        (gap(0.881, 0.881, 2.5e-4, -1.6), 1, 0.4, []),
        (gap(0.881, 0.881, 0.0, 0.0), 1, 0.4, ["CaptionsIgnored"]),
        (gap(0.8, 0.8, 0.0, 0.0, answer=0.0), 1, 0.4, []),  # an output layer of zeros
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
