"""A batch that was seen is recognised, in this attempt and the next; others never look like it."""

from __future__ import annotations

import torch

from t2i_trainer.data.feed import Batch
from t2i_trainer.sanity.repeats import BatchMarks, RepeatCheck


def batch(seed: int, *, first_timestep: int = 10) -> Batch:
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Batch(torch.zeros(2, 3, 8, 8), noise, torch.tensor([first_timestep, 20]), torch.zeros(2, 1, 1))


def mark(given: Batch, step: int = 1) -> str:
    marks = BatchMarks(torch.device("cpu"))
    marks.hold(step, given)
    found = marks.read(step)
    assert found is not None
    return found


def test_noise_and_timestep_of_the_first_sample_make_the_mark() -> None:
    first = mark(batch(1))
    assert len(first) == 16
    assert mark(batch(1), step=8) == first
    assert mark(batch(2)) != first
    assert mark(batch(1, first_timestep=11)) != first


def test_marks_are_read_one_step_late_and_once() -> None:
    marks = BatchMarks(torch.device("cpu"))
    read = []
    for step in range(1, 5):
        marks.hold(step, batch(step))
        read.append(marks.read(step - 1))
    assert read == [None, *(mark(batch(step)) for step in (1, 2, 3))]
    assert marks.read(3) is None


def test_a_batch_that_was_seen_is_recognised_in_this_attempt_and_the_next() -> None:
    first, second = mark(batch(1)), mark(batch(2))
    check = RepeatCheck({5: first})
    assert check.observe(6, second) == []
    (finding,) = check.observe(7, first)
    assert (finding.name, "step 5" in finding.sentence) == ("RepeatedData", True)
    assert check.observe(8, second) == []  # said once
