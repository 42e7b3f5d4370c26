"""What an attempt starts from: the newest identical checkpoint, an archive first, step 0, or nothing at all."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.conditions import CheckpointReason
from t2i_api.spec_run import OnIncompatible
from t2i_api.status import VerdictKind as V
from t2i_checkpoint.inspect import Survey
from t2i_operator.decide.checkpoint import Archive, Resume, StartFresh, Stop, choose

SurveyOf = Callable[[Iterable[tuple[V, int]]], Survey]
ARCHIVE, FAIL = OnIncompatible.ARCHIVE, OnIncompatible.FAIL


@pytest.mark.parametrize(
    ("found", "step", "skipped"),
    [
        ([(V.IDENTICAL, 10)], 10, 0),
        ([(V.IDENTICAL, 20), (V.IDENTICAL, 10)], 20, 0),
        ([(V.INCOMPLETE, 30), (V.INCOMPLETE, 20), (V.IDENTICAL, 10)], 10, 2),
        ([(V.IDENTICAL, 20), (V.INCOMPLETE, 10)], 20, 0),
        ([(V.IDENTICAL, 20), (V.UNREADABLE, 10)], 20, 0),
        ([(V.INFERENCE_ONLY, 20), (V.IDENTICAL, 10)], 10, 0),
    ],
)
def test_the_newest_identical_checkpoint_is_resumed(
    survey_of: SurveyOf, found: list[tuple[V, int]], step: int, skipped: int
) -> None:
    choice = choose(survey_of(found), ARCHIVE)
    assert isinstance(choice, Resume)
    assert (choice.judgement.step, choice.skipped) == (step, skipped)


@pytest.mark.parametrize("found", [[], [(V.INCOMPLETE, 10)], [(V.INCOMPLETE, 20), (V.INCOMPLETE, 10)]])
def test_without_any_complete_checkpoint_training_starts_fresh(survey_of: SurveyOf, found: list[tuple[V, int]]) -> None:
    assert choose(survey_of(found), FAIL) == StartFresh(skipped=len(found))


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        ([(V.FOREIGN, 10)], [10]),
        ([(V.FOREIGN, 20), (V.FOREIGN, 10)], [20, 10]),
        ([(V.FOREIGN, 20), (V.IDENTICAL, 10)], [20]),
        ([(V.FOREIGN, 30), (V.INCOMPLETE, 20), (V.INFERENCE_ONLY, 10)], [30]),
    ],
)
def test_exactly_the_foreign_ones_are_archived_first(
    survey_of: SurveyOf, found: list[tuple[V, int]], steps: list[int]
) -> None:
    choice = choose(survey_of(found), ARCHIVE)
    assert isinstance(choice, Archive)
    assert [judgement.step for judgement in choice.judgements] == steps


@pytest.mark.parametrize(
    ("found", "policy", "expected", "way_out"),
    [
        ([(V.FOREIGN, 10)], FAIL, (CheckpointReason.FOREIGN, True), "set it to Archive"),
        ([(V.UNREADABLE, 10)], ARCHIVE, (CheckpointReason.UNREADABLE, False), "looks again"),
        ([(V.UNREADABLE, 20), (V.IDENTICAL, 10)], ARCHIVE, (CheckpointReason.UNREADABLE, False), "Mend it"),
        ([(V.FOREIGN, 20), (V.UNREADABLE, 10)], ARCHIVE, (CheckpointReason.UNREADABLE, False), "untouched"),
        ([(V.INFERENCE_ONLY, 10)], ARCHIVE, (CheckpointReason.NOT_RESUMABLE, False), "Move it elsewhere"),
        ([(V.INCOMPLETE, 20), (V.RENAMED, 10)], ARCHIVE, (CheckpointReason.NOT_RESUMABLE, False), "Move it elsewhere"),
    ],
)
def test_in_doubt_nothing_is_touched(
    survey_of: SurveyOf,
    found: list[tuple[V, int]],
    policy: OnIncompatible,
    expected: tuple[CheckpointReason, bool],
    way_out: str,
) -> None:
    choice = choose(survey_of(found), policy)
    assert isinstance(choice, Stop)
    assert (choice.reason, choice.terminal) == expected
    assert way_out in choice.message


SURVEYS = st.lists(st.sampled_from(V), max_size=6).map(lambda kinds: [(kind, i) for i, kind in enumerate(kinds)])


@given(SURVEYS, st.sampled_from(OnIncompatible))
def test_every_survey_has_one_safe_answer(
    survey_of: SurveyOf, found: list[tuple[V, int]], policy: OnIncompatible
) -> None:
    choice = choose(survey_of(found), policy)
    kinds = {step: kind for kind, step in found}
    newest_identical = max((step for step, kind in kinds.items() if kind is V.IDENTICAL), default=-1)
    if isinstance(choice, Archive):
        assert policy is ARCHIVE
        assert {judgement.verdict.kind for judgement in choice.judgements} == {V.FOREIGN}
        assert not [step for step, kind in kinds.items() if kind is V.UNREADABLE and step > newest_identical]
    if isinstance(choice, Resume):
        assert choice.judgement.step == newest_identical
    if isinstance(choice, StartFresh):
        assert set(kinds.values()) <= {V.INCOMPLETE}
