"""An attempt ends for one reason: that of the pod that failed by itself, not of those it took along."""

from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.progress import ExitCode, TerminationMessage
from t2i_operator.decide.ending import classify
from t2i_operator.observed import AttemptFacts, PodFacts

Pod = Callable[..., PodFacts]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"exit_code": 137}, {"exit_code": 27}, ("PodKilled", True, None)),
        ({"exit_code": 27}, {"exit_code": 137}, ("PodKilled", True, None)),
        ({"exit_code": 1}, {"exit_code": 143}, ("Crashed", True, None)),
        ({"exit_code": 134}, {}, ("Crashed", True, None)),
        ({"exit_code": 28}, {"exit_code": 28}, ("Interrupted", False, None)),
        ({"exit_code": 28}, {"exit_code": 137}, ("PodKilled", True, None)),
        ({"exit_code": 143}, {}, ("PodTerminated", False, None)),
        ({"exit_code": 27}, {}, ("PeerLost", True, None)),
        ({"exit_code": 26}, {}, ("StorageUnavailable", True, None)),
        ({"exit_code": 21}, {"exit_code": 27}, ("IncompatibleWeights", True, None)),
        ({"disrupted": True, "exit_code": 137}, {"exit_code": 27}, ("Disrupted", False, None)),
        ({"disrupted": True}, {"exit_code": 1}, ("Disrupted", False, None)),
        ({"exit_code": 27}, {"exit_code": 24}, ("OutOfMemory", True, State.OUT_OF_MEMORY)),
        ({"exit_code": 137, "out_of_memory": True}, {"exit_code": 27}, ("OutOfMemory", True, State.OUT_OF_MEMORY)),
        ({"exit_code": 20}, {"exit_code": 143}, ("BadConfiguration", True, State.BAD_CONFIGURATION)),
        ({"exit_code": 22}, {"exit_code": 27}, ("WorldSizeMismatch", True, State.WORLD_SIZE_MISMATCH)),
        ({"exit_code": 23}, {"exit_code": 27}, ("DataInvalid", True, State.DATA_INVALID)),
        ({"exit_code": 25}, {"exit_code": 27}, ("NonFiniteLoss", True, State.NON_FINITE_LOSS)),
        ({}, {}, ("PodLost", True, None)),
    ],
)
def test_the_root_cause_is_found_among_the_pods(
    pod: Pod, first: dict[str, Any], second: dict[str, Any], expected: tuple[str, bool, State | None]
) -> None:
    facts = AttemptFacts(number=1, job_exists=True, failed=True, pods=(pod(0, **first), pod(1, **second)))
    ending = classify(facts)
    assert (ending.cause, ending.counted, ending.final) == expected


def test_the_trainers_own_words_are_passed_on(pod: Pod, last_words: Callable[..., TerminationMessage]) -> None:
    words = last_words(ExitCode.DATA_INVALID, "row 7 of captions.parquet has no image: remove the row")
    facts = AttemptFacts(number=1, job_exists=True, failed=True, pods=(pod(0, exit_code=23, termination=words),))
    assert "row 7 of captions.parquet has no image: remove the row" in classify(facts).message


@pytest.mark.parametrize("code", [*ExitCode, 2, 127, 128, 255, -1])
def test_every_exit_status_has_a_cause(pod: Pod, code: int) -> None:
    facts = AttemptFacts(number=1, job_exists=True, failed=True, pods=(pod(0, exit_code=int(code)),))
    assert classify(facts).cause
