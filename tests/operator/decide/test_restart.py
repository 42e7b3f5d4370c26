"""Restarts are counted within a window, disruptions apart, and every loop is paced."""

from datetime import UTC, datetime, timedelta

import pytest

from t2i_api.spec_run import FailurePolicy
from t2i_api.status import AttemptStatus, RestartRecord, RestartStatus
from t2i_operator.decide.ending import Ending
from t2i_operator.decide.restart import counted_in_window, delay, exhausted, pause_between_looks, record

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def after(*ages: float, counted: bool = True) -> RestartStatus:
    entries = [
        RestartRecord(attempt=n + 1, cause="PodKilled", at=NOW - timedelta(seconds=age), counted=counted)
        for n, age in enumerate(ages)
    ]
    return RestartStatus(total=len(entries), recent=entries)


@pytest.mark.parametrize(
    ("ages", "maximum", "over"),
    [
        ((), 0, True),
        ((), 1, False),
        ((5,), 1, True),
        ((90_000,), 1, False),
        ((90_000, 10, 5), 3, False),
        ((9, 8, 7), 3, True),
    ],
)
def test_what_is_older_than_the_window_is_forgiven(ages: tuple[float, ...], maximum: int, over: bool) -> None:  # noqa: FBT001
    assert exhausted(after(*ages), FailurePolicy(max_restarts=maximum), NOW) is over


def test_disruptions_never_exhaust_a_job() -> None:
    assert counted_in_window(after(*range(60), counted=False), FailurePolicy(), NOW) == 0


@pytest.mark.parametrize(
    ("restarts", "seconds"),
    [(0, 0), (1, 0), (2, 10), (3, 20), (4, 40), (6, 160), (7, 300), (64, 300)],
)
def test_the_delay_doubles_up_to_five_minutes(restarts: int, seconds: float) -> None:
    assert delay(after(*([1] * restarts)), NOW) == timedelta(seconds=seconds)


def test_a_loop_of_disruptions_does_not_spin() -> None:
    assert delay(after(4, 3, 2, 1, counted=False), NOW) == timedelta(seconds=40)


@pytest.mark.parametrize(
    ("waited", "pause"), [(None, 5), (0, 5), (5, 5), (11, 11), (24, 24), (400_000, 30), (-3600, 5)]
)
def test_a_bucket_is_looked_at_again_as_soon_as_it_pays(waited: float | None, pause: float) -> None:
    since = None if waited is None else NOW - timedelta(seconds=waited)
    assert pause_between_looks(since, NOW) == timedelta(seconds=pause)


def test_a_job_that_ran_for_long_restarts_at_once() -> None:
    assert delay(after(20_000, 10_000, 1), NOW) == timedelta(0)


def test_a_storm_of_preemptions_does_not_hide_a_crash_loop() -> None:
    restarts = RestartStatus()
    for attempt in range(1, 201):
        crash = attempt % 20 == 0
        ending = Ending("Crashed" if crash else "Disrupted", "", counted=crash)
        restarts = record(restarts, ending, AttemptStatus(number=attempt), NOW)
    assert (restarts.total, restarts.disruptions, len(restarts.recent)) == (200, 190, 64)
    assert counted_in_window(restarts, FailurePolicy(), NOW) == 10
    assert restarts.recent[-1].attempt == 200
