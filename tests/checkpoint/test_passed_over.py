"""What is passed over is said once: how many, why each, and which is the newest."""

import pytest

from t2i_api.status import VerdictKind as V
from t2i_checkpoint.discovery import CheckpointFormat
from t2i_checkpoint.inspect import Judgement
from t2i_checkpoint.passed_over import is_lost_progress, passed_over, passed_over_sentence
from t2i_checkpoint.verdict import Verdict


def judged(step: int, kind: V, reason: str, explanation: str = "so it is") -> Judgement:
    name = f"checkpoint-{step}"
    return Judgement(
        name, name, step, next(iter(CheckpointFormat)), 1, (), Verdict(kind, reason, explanation), "", None
    )


FOUND = (
    judged(50, V.INFERENCE_ONLY, "WeightsWithoutResumeState"),
    judged(40, V.INCOMPLETE, "NotCommitted"),
    judged(30, V.INFERENCE_ONLY, "WeightsWithoutResumeState"),
)


def test_the_sentence_counts_by_why_and_names_the_newest() -> None:
    assert passed_over_sentence(FOUND, newer=True) == (
        "3 newer checkpoints passed over: 2 inference-only (WeightsWithoutResumeState), newest checkpoint-50: so it is"
        "; 1 incomplete (NotCommitted), checkpoint-40: so it is"
    )
    assert passed_over_sentence(FOUND[:1], newer=False).startswith("1 checkpoint passed over: 1 inference-only")
    assert passed_over_sentence((), newer=True) == ""
    assert [(group.count, group.newest.step) for group in passed_over(FOUND)] == [(2, 50), (1, 40)]


def test_however_much_there_is_the_sentence_stays_short() -> None:
    many = [judged(step, V.INCOMPLETE, f"Reason{step}", "x" * 5000) for step in range(20)]
    sentence = passed_over_sentence(many, newer=True)
    assert len(sentence) < 1200
    assert sentence.endswith("16 more reasons")


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        ((), False),
        ((judged(1, V.INCOMPLETE, "NotCommitted"), judged(2, V.INCOMPLETE, "Retired")), False),
        ((judged(1, V.INCOMPLETE, "NotCommitted"), judged(2, V.INCOMPLETE, "Damaged")), True),
        ((judged(1, V.ADAPTER, "AdapterWeights"),), True),
    ],
)
def test_a_save_that_was_cut_off_is_no_lost_progress(found: tuple[Judgement, ...], lost: bool) -> None:  # noqa: FBT001
    assert is_lost_progress(found) is lost
