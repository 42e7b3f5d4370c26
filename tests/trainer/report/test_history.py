"""metrics.jsonl read back: what holds is taken in order, what a stranger may have written into it does no harm."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_trainer.report.history import MAXIMUM_FINDINGS, Attempt, Beginning, Evaluation, Newer, read_history

FINDING = {"name": "LatentScale", "severity": "Error", "step": 2, "sentence": "latents are too small"}


def lines(*rows: Any) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def row(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": step / 10, "imagesPerSecond": 4.0, "learningRate": 0.001, "attempt": 1, **more}


def test_curves_have_one_entry_a_step() -> None:
    history = read_history(lines(row(1), row(2, loss=None, quartiles=[0.1, None, 0.3, 0.4]), row(3)))
    assert list(history.steps) == [1, 2, 3]
    assert [loss for loss in history.losses if math.isfinite(loss)] == [0.1, 0.3]
    assert [curve[1] for curve in history.quarters if math.isfinite(curve[1])] == [0.1, 0.3, 0.4]
    assert {len(curve) for curve in (history.losses, history.speeds, history.learning_rates, *history.quarters)} == {3}
    assert history.last_step == 3


def test_attempts_are_told_with_what_they_began_with() -> None:
    first = {"place": "", "verdict": "", "targetSteps": 4, "imagesAStep": 8}
    second = {"place": "checkpoints/step-00000002-ab-a1", "verdict": "identical", "targetSteps": 9, "imagesAStep": 8}
    history = read_history(
        lines(row(1, beginning=first), row(2), row(3, attempt=2, beginning=second), row(4, attempt=2))
    )
    resumed = Beginning("checkpoints/step-00000002-ab-a1", "identical", 9, 8)
    assert history.attempts == [Attempt(1, 1, 2, Beginning("", "", 4, 8)), Attempt(2, 3, 4, resumed)]
    assert history.beginning == resumed


@pytest.mark.parametrize(
    ("rows", "began_at"),
    [
        ([row(1, beginning={"at": "2026-11-30T09:00:00+00:00"})], datetime(2026, 11, 30, 9, tzinfo=UTC)),
        ([row(7, beginning={"at": "2026-11-30T09:00:00+00:00"})], None),
        ([row(1, beginning={"at": "2026-11-30T09:00:00"})], None),
        ([row(1, beginning={"at": "yesterday"})], None),
        ([row(1, beginning={"at": 3})], None),
        ([row(1, beginning={})], None),
        ([row(1)], None),
        ([], None),
    ],
    ids=["told", "not of step 1", "no time zone", "no time", "no text", "not told", "no beginning", "nothing"],
)
def test_a_run_began_when_the_attempt_of_its_first_step_did(
    rows: list[dict[str, Any]], began_at: datetime | None
) -> None:
    assert read_history(lines(*rows)).began_at == began_at


def test_evaluations_and_findings_are_told_at_their_steps() -> None:
    evaluation = {"right": 0.5, "wrong": 0.7, "null": 0.6, "reaction": 1}
    history = read_history(lines(row(1, evaluation=evaluation), row(2, findings=[FINDING, FINDING])))
    assert history.evaluations == [Evaluation(1, 0.5, 0.7, 0.6)]
    assert [(each.name, each.step) for each in history.findings] == [("LatentScale", 2)] * 2


def test_too_many_findings_are_counted() -> None:
    history = read_history(lines(row(1, findings=[FINDING] * (MAXIMUM_FINDINGS + 3))))
    assert (len(history.findings), history.findings_left_out) == (MAXIMUM_FINDINGS, 3)


def test_rows_of_this_attempt_replace_those_that_a_kill_made_void() -> None:
    stored = lines(row(1), row(2), row(3, loss=9.0), row(4, loss=9.0))
    history = read_history(stored, Newer(2, tuple(lines(row(3, attempt=2)))))
    assert list(history.losses) == [0.1, 0.2, 0.3]
    assert [attempt.number for attempt in history.attempts] == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b'{"step": "2"}',
        b'{"step": true}',
        b'{"step": 1}',  # steps never go back
        b'{"step": 1e999}',
        b"[" * 100_000,
        json.dumps({"step": 10**30}).encode(),
    ],
)
def test_a_line_that_is_no_later_row_is_left_out(bad: bytes) -> None:
    history = read_history([*lines(row(1)), bad, *lines(row(2))])
    assert list(history.steps) == [1, 2]


@pytest.mark.parametrize(
    "odd",
    [
        {"loss": 10**400},
        {"loss": 1e300},
        {"loss": "0.1"},
        {"quartiles": 7},
        {"quartiles": [1, 2]},
        {"evaluation": {"right": 1}},
        {"evaluation": {"right": None, "wrong": 1, "null": 1}},
        {"findings": [{"name": "<script>", "sentence": "x", "step": 1}]},
        {"findings": [7]},
        {"attempt": "first", "beginning": 3},
    ],
)
def test_a_field_that_does_not_hold_costs_only_itself(odd: dict[str, Any]) -> None:
    history = read_history(lines({**row(1, loss=None), **odd}))
    assert list(history.steps) == [1]
    assert not any(map(math.isfinite, (*history.losses, *(value for curve in history.quarters for value in curve))))
    assert (history.evaluations, history.findings) == ([], [])
    assert history.attempts == [Attempt(1, 1, 1, None)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = (
    "step",
    "loss",
    "imagesPerSecond",
    "learningRate",
    "attempt",
    "quartiles",
    "evaluation",
    "findings",
    "beginning",
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON) | st.fixed_dictionaries({"step": st.integers(1, 9)})))
def test_whatever_the_rows_are_steps_rise_and_curves_are_as_long(rows: list[Any]) -> None:
    history = read_history(lines(*rows))
    assert list(history.steps) == sorted(set(history.steps))
    assert {len(curve) for curve in (history.losses, history.speeds, *history.quarters)} == {len(history.steps)}
    assert all(math.isnan(value) or math.isfinite(value) for value in history.losses)
