"""Rank 0's report becomes what `kubectl get` shows; nothing that was known is forgotten."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.progress import ExitCode, Progress, TerminationMessage
from t2i_operator.decide.progress import last_report, progress_status, readable
from t2i_operator.observed import AttemptFacts, PodFacts

ProgressAt = Callable[..., Progress]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1, "0s"),
        (42.9, "42s"),
        (192, "3m12s"),
        (18_420, "5h07m"),
        (183_600, "2d03h"),
        (1e300, "11574d01h"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float | None, text: str) -> None:
    assert readable(seconds) == text


def test_the_step_counter_moved_when_the_step_changed(progress_at: ProgressAt, t0: datetime) -> None:
    first = progress_status(progress_at(5), None, t0)
    still = progress_status(progress_at(5), first, t0 + timedelta(seconds=10))
    moved = progress_status(progress_at(6), still, t0 + timedelta(seconds=20))
    rewound = progress_status(progress_at(2), moved, t0 + timedelta(seconds=30))
    assert [status.advanced_at for status in (first, still, moved, rewound)] == [
        t0, t0, t0 + timedelta(seconds=20), t0 + timedelta(seconds=30)
    ]  # fmt: skip


def test_a_report_without_a_loss_keeps_the_last_one(progress_at: ProgressAt, t0: datetime) -> None:
    known = progress_status(progress_at(5, last_checkpoint="step-5", last_checkpoint_step=5), None, t0)
    empty = progress_status(progress_at(5, loss=None, loss_smoothed=None), known, t0)
    assert (empty.loss, empty.loss_text, empty.last_checkpoint, empty.last_checkpoint_step) == (
        0.5,
        "0.5100",
        "step-5",
        5,
    )


def test_the_termination_message_of_rank_0_is_the_last_word(
    progress_at: ProgressAt, pod: Callable[..., PodFacts], last_words: Callable[..., TerminationMessage]
) -> None:
    words = last_words(ExitCode.SUCCEEDED, progress=progress_at(100))
    facts = AttemptFacts(number=1, job_exists=True, pods=(pod(1, exit_code=0), pod(0, exit_code=0, termination=words)))
    assert last_report(facts, progress_at(98)) == progress_at(100)


def test_a_report_of_another_attempt_is_not_this_ones(progress_at: ProgressAt) -> None:
    assert last_report(AttemptFacts(number=2, job_exists=True), progress_at(98, attempt=1)) is None


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.integers(0, 10**12), st.integers(1, 10**9), NUMBERS)
def test_every_report_can_be_shown(
    progress_at: ProgressAt, t0: datetime, step: int, target: int, number: float | None
) -> None:
    eta = None if number is None else abs(number)
    report = progress_at(step, loss=number, loss_smoothed=number, eta_seconds=eta)
    status = progress_status(report.model_copy(update={"target_steps": target}), None, t0)
    # The columns are bounded in the CRD: what is longer would make the API server refuse the whole status.
    assert type(status).model_validate(status.model_dump()) == status
