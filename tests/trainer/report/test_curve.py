"""A long curve is shown by few points whose means are the curve's, and smoothed as the progress document's loss is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_trainer.report.curve import SMOOTHING, Point, last_finite, smoothed, thinned
from t2i_trainer.telemetry import LOSS_SMOOTHING

NAN = math.nan
VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(NAN), max_size=200)


@pytest.mark.parametrize(
    ("values", "most", "expected"),
    [
        ([], 3, []),
        ([5.0], 3, [(1, 5.0)]),
        ([1.0, 3.0, 5.0, 7.0], 2, [(1.5, 2.0), (3.5, 6.0)]),
        ([1.0, NAN, NAN, NAN, 2.0], 3, [(1, 1.0), (5, 2.0)]),
        ([NAN, NAN], 1, []),
    ],
)
def test_neighbours_become_their_mean(values: list[float], most: int, expected: list[tuple[float, float]]) -> None:
    assert thinned(range(1, len(values) + 1), values, most) == tuple(Point(*each) for each in expected)


@settings(deadline=None)
@given(VALUES, st.integers(1, 50))
def test_points_are_few_in_order_and_within_the_curve(values: list[float], most: int) -> None:
    points = thinned(range(1, len(values) + 1), values, most)
    finite = [value for value in values if math.isfinite(value)]
    assert len(points) <= most
    assert [point.step for point in points] == sorted(point.step for point in points)
    assert all(min(finite) - 1e-3 <= point.value <= max(finite) + 1e-3 for point in points)
    assert bool(points) == bool(finite)


def test_the_smoothed_curve_passes_over_what_is_not_finite() -> None:
    assert smoothed([NAN, 1.0, NAN, 2.0], keep=0.5)[1:].tolist() == [1.0, 1.0, 1.5]


@settings(deadline=None)
@given(VALUES)
def test_the_smoothed_curve_stays_within_the_curve(values: list[float]) -> None:
    course = smoothed(values)
    finite = [value for value in values if math.isfinite(value)]
    assert len(course) == len(values)
    assert all(min(finite) - 1e-3 <= value <= max(finite) + 1e-3 for value in course if math.isfinite(value))


def test_it_is_smoothed_as_the_progress_document_is() -> None:
    assert SMOOTHING == LOSS_SMOOTHING


@pytest.mark.parametrize(("values", "expected"), [([], None), ([NAN], None), ([1.0, NAN], 1.0), ([1.0, 2.0], 2.0)])
def test_the_newest_value_is_the_last_finite_one(values: list[float], expected: float | None) -> None:
    assert last_finite(values) == expected
