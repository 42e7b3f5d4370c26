"""`metrics.jsonl` keeps every digit, and a resumed run forgets the steps that were lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_trainer.metrics_log import MetricsLog, MetricsRow, keep_earlier_rows, lines_up_to

if TYPE_CHECKING:
    from pathlib import Path


def row(step: int, loss: float) -> MetricsRow:
    return MetricsRow(step=step, loss=loss, gradientNorm=1.0, learningRate=1e-4, imagesPerSecond=2.0, attempt=1)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20), st.integers(0, 25))
def test_losses_come_back_bit_for_bit_up_to_the_resumed_step(losses: list[float], step: int) -> None:
    log = MetricsLog()
    for number, loss in enumerate(losses, start=1):
        log.append(row(number, loss))
    kept = [json.loads(line)["loss"] for line in lines_up_to(log.to_bytes(), step)]
    assert [value.hex() for value in kept] == [value.hex() for value in losses[:step]]


def test_a_resumed_log_goes_on_where_the_checkpoint_stood(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert MetricsLog.resumed(store, 5).to_bytes() == b""
    log = MetricsLog()
    for number in range(1, 6):
        log.append(row(number, number / 3))
    store.put(layout.METRICS, log.to_bytes() + b"cut off in the midd\n\xff\n[1]\n")
    resumed = MetricsLog.resumed(store, 3)
    resumed.append(row(4, 0.5))
    assert [json.loads(line)["step"] for line in resumed.to_bytes().splitlines()] == [1, 2, 3, 4]


@pytest.mark.parametrize(("step", "expected"), [(0, [1, 2, 3]), (2, [3]), (3, []), (9, [])])
def test_the_rows_after_a_step_are_what_no_save_has_brought(step: int, expected: list[int]) -> None:
    log = MetricsLog()
    for number in (1, 2, 3):
        log.append(row(number, 0.5))
    assert [json.loads(line)["step"] for line in log.after(step)] == expected


@pytest.mark.parametrize(("step", "expected"), [(1, set()), (2, {"evaluation", "pictures"}), (3, set())])
def test_what_a_stop_left_out_is_told_of_the_last_step_only(step: int, expected: set[str]) -> None:
    log = MetricsLog()
    assert log.left_out(step) == set()
    for number in (1, 2):
        log.append(row(number, 0.5))
        for what in ("evaluation", "pictures"):
            log.note(number, "leftOut", what)
    assert MetricsLog(lines_up_to(log.to_bytes(), 2)).left_out(step) == expected


def test_what_an_attempt_began_with_stands_in_its_first_row() -> None:
    log = MetricsLog()
    log.append(row(1, 0.5))
    log.note(2, "beginning", {"place": "checkpoints/x"})
    for number in (2, 3):
        log.append(row(number, 0.5))
    assert [json.loads(line).get("beginning") for line in log.after(0)] == [None, {"place": "checkpoints/x"}, None]


def test_the_rows_of_an_earlier_run_outlive_the_first_save_of_the_next(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert keep_earlier_rows(store) is None
    rows = {}
    for attempt in (1, 1, 2):  # a repeated attempt finds its copy there
        store.put(layout.METRICS, b"%d\n" % attempt)
        copy = keep_earlier_rows(store)
        assert copy is not None
        rows[copy] = b"%d\n" % attempt
    store.put(layout.METRICS, b"of the next run\n")
    assert len(rows) == 2
    assert {name: store.read(name) for name in rows} == rows
