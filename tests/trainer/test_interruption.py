"""A wish to stop is remembered, not obeyed at once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from t2i_api.progress import ExitCode
from t2i_trainer.errors import TrainerError
from t2i_trainer.interruption import Interruption

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered(number: signal.Signals) -> None:
    interruption = Interruption()
    interruption.listen()
    assert not interruption.is_asked
    os.kill(os.getpid(), number)
    assert interruption.is_asked


def test_the_death_of_the_launcher_is_a_wish_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    interruption = Interruption()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert interruption.is_asked
    assert not interruption.was_asked, "a launcher may outlive the shell that started it"


def test_before_training_a_signal_ends_whatever_goes_on() -> None:
    """Fetching a checkpoint or encoding captions takes minutes; the grace period does not wait for it."""
    interruption = Interruption()
    interruption.listen(end_at_once=True)
    with pytest.raises(TrainerError, match="before training began") as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code is ExitCode.INTERRUPTED
    os.kill(os.getpid(), signal.SIGTERM)  # a second one does not disturb the last words
    assert interruption.is_asked


def test_once_there_is_something_to_save_a_signal_is_remembered_again() -> None:
    interruption = Interruption()
    interruption.listen(end_at_once=True)
    interruption.defer()
    os.kill(os.getpid(), signal.SIGTERM)
    assert interruption.is_asked
