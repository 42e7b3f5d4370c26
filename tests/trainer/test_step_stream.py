"""Measures are heard one step late, in order, and all of them before a pause."""

from __future__ import annotations

import math

import pytest
import torch

from t2i_trainer.step_stream import (
    LENGTH,
    LOSS,
    NORM,
    OWN_NORM,
    QUARTILE_COUNTS,
    QUARTILE_LOSSES,
    SKIPPED,
    STOPS,
    StepStream,
)


@pytest.fixture
def stream() -> StepStream:
    return StepStream(torch.device("cpu"), global_batch_size=8, world_size=2)


def totals(loss: float = 4.0, **places: float) -> torch.Tensor:
    values = torch.zeros(LENGTH, dtype=torch.float64)
    values[LOSS] = loss
    for name, value in places.items():
        values[{"norm": NORM, "stops": STOPS, "own": OWN_NORM, "skipped": SKIPPED}[name]] = value
    return values


def test_a_step_is_heard_after_the_next_one_was_launched(stream: StepStream) -> None:
    heard = []
    for step in range(1, 5):
        stream.push(step, 0.1, totals(step))
        heard.append([result.step for result in stream.ready()])
    assert heard == [[], [1], [2], [3]]
    assert [(result.step, result.loss) for result in stream.drain()] == [(4, 0.5)]
    assert list(stream.drain()) == []


def test_sums_become_means_over_batch_and_ranks(stream: StepStream) -> None:
    values = totals(2.0, norm=3.0, own=1.4, stops=1.0)
    values[QUARTILE_LOSSES] = 1.5
    values[QUARTILE_COUNTS] = 6
    values[QUARTILE_LOSSES + 3] = 0.5
    values[QUARTILE_COUNTS + 3] = 2
    stream.push(1, 0.25, values)
    (result,) = stream.drain()
    assert (result.loss, result.gradient_norm, result.own_gradient_norm) == (0.25, 1.5, 1.4)
    assert (result.learning_rate, result.wants_stop, result.finite, result.skipped) == (0.25, True, True, False)
    assert result.quartile_losses == (0.25, None, None, 0.25)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_what_is_not_finite_is_told(stream: StepStream, loss: float, norm: float) -> None:
    stream.push(1, 0.1, totals(loss, norm=norm, skipped=1.0))
    (result,) = stream.drain()
    assert not result.finite
    assert result.skipped


def test_the_clock_counts_from_step_to_step_and_not_through_a_pause(
    stream: StepStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream.restart_clock()
    seconds = []
    for step, at in ((1, 1.0), (2, 3.0)):
        now[0] = at
        stream.push(step, 0.1, totals())
        seconds += [result.seconds for result in stream.ready()]
    seconds += [result.seconds for result in stream.drain()]
    now[0] = 100.0
    stream.restart_clock()
    now[0] = 100.5
    stream.push(3, 0.1, totals())
    seconds += [result.seconds for result in stream.drain()]
    assert seconds == [1.0, 2.0, 0.5]


def test_the_time_of_all_forward_passes_of_a_step_is_added_up(
    stream: StepStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, heard = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for step, passes in ((1, (0.25, 0.5)), (2, (0.125,)), (3, ())):
        for seconds in passes:
            with stream.forward_pass():
                now[0] += seconds
            now[0] += 10.0  # the backward pass
        stream.push(step, 0.1, totals())
        heard += [result.forward_seconds for result in stream.ready()]
    heard += [result.forward_seconds for result in stream.drain()]
    assert heard == [0.75, 0.125, 0.0]
