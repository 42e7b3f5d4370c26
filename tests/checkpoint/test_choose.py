"""What a run begins with, as one table: what lies there, the policy, and what is done about it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.conditions import CheckpointReason as C
from t2i_api.spec_run import OnIncompatible
from t2i_api.status import VerdictKind as V
from t2i_checkpoint.choose import (
    Archive,
    BeginWith,
    Choice,
    Resume,
    StartFresh,
    Stop,
    WeightsSource,
    choose,
    decisive,
    has_to_leave,
)
from t2i_checkpoint.discovery import CheckpointFormat
from t2i_checkpoint.inspect import Judgement, Survey
from t2i_checkpoint.verdict import Reason, Verdict

ARCHIVE, FAIL, WARM = OnIncompatible.ARCHIVE, OnIncompatible.FAIL, OnIncompatible.WARM_START
OTHERS, OTHERS_WITH_STATE = Reason.WEIGHTS_WITHOUT_RESUME_STATE, Reason.RESUME_STATE_OF_ANOTHER_PROGRAM
USUAL = {V.IDENTICAL: Reason.NAMES_AND_SHAPES_MATCH, V.RENAMED: Reason.NAMES_CONVERTIBLE, V.INFERENCE_ONLY: OTHERS}

Found = Sequence[tuple[V, int] | tuple[V, int, str]]


def judged(kind: V, step: int, reason: str = "") -> Judgement:
    """One checkpoint; our own layout where only that can be meant. `reason` "exact": resumable under other names."""
    own = kind in {V.IDENTICAL, V.INCOMPLETE}
    folder = f"checkpoints/step-{step:08d}-w1" if own else f"checkpoint-{step}"
    exact = reason == "exact"
    why = USUAL.get(kind, Reason.NAMES_DIFFER) if exact or not reason else reason
    verdict = Verdict(kind, why, f"because {kind}", exact_resume=exact)
    verdict = replace(verdict, loadable=reason != Reason.NOT_LOADABLE)
    if kind is V.PARTIAL:
        verdict = replace(verdict, fresh=("conv_in.weight",), matched_parameter_share=0.99)
    return Judgement(
        name=folder.rpartition("/")[2],
        folder=folder,
        step=step,
        format=next(iter(CheckpointFormat)),
        size_bytes=1000,
        objects=(),
        verdict=verdict,
        label="custom-unet",
        manifest=None,
    )


def survey_of(found: Found) -> Survey:
    """A survey, newest first."""
    judgements = sorted((judged(*item) for item in found), key=lambda item: -item.step)
    return Survey(tuple(judgements), bytes_read=1, requests=1, seconds=0.1)


def said(choice: Choice) -> tuple[str | int | bool, ...]:
    """The choice in a row of the table."""
    match choice:
        case Resume():
            return "resume", choice.judgement.step, len(choice.skipped)
        case StartFresh():
            return "fresh", len(choice.skipped)
        case BeginWith():
            return "weights", choice.judgement.step, choice.source, choice.allow_partial
        case Archive():
            return "archive", *(judgement.step for judgement in choice.judgements)
        case Stop():
            return "stop", choice.reason, choice.terminal


PREFIX, GIVEN = WeightsSource.PREFIX, WeightsSource.INITIAL_WEIGHTS
TABLE: list[tuple[str, Found, OnIncompatible, tuple[str | int | bool, ...]]] = [
    ("nothing there", [], FAIL, ("fresh", 0)),
    ("only incomplete ones", [(V.INCOMPLETE, 20), (V.INCOMPLETE, 10)], FAIL, ("fresh", 2)),
    ("the newest identical", [(V.IDENTICAL, 20), (V.IDENTICAL, 10)], ARCHIVE, ("resume", 20, 0)),
    (
        "newer incomplete ones are skipped and counted",
        [(V.INCOMPLETE, 30), (V.INCOMPLETE, 20), (V.IDENTICAL, 10)],
        ARCHIVE,
        ("resume", 10, 2),
    ),
    ("a damaged one is passed over", [(V.INCOMPLETE, 20, "Damaged"), (V.IDENTICAL, 10)], ARCHIVE, ("resume", 10, 1)),
    ("a damaged one alone", [(V.INCOMPLETE, 20, "Damaged")], ARCHIVE, ("stop", C.NOT_RESUMABLE, False)),
    ("a damaged one alone, warm start", [(V.INCOMPLETE, 20, "Damaged")], WARM, ("fresh", 1)),
    ("a damaged one is not archived with others",
     [(V.INCOMPLETE, 20, "Damaged"), (V.FOREIGN, 10)], ARCHIVE, ("archive", 10)),
    ("an older incomplete one is nobody's business", [(V.IDENTICAL, 20), (V.INCOMPLETE, 10)], FAIL, ("resume", 20, 0)),
    ("an older unreadable one too", [(V.IDENTICAL, 20), (V.UNREADABLE, 10)], ARCHIVE, ("resume", 20, 0)),
    ("own names, renamed, all state there", [(V.RENAMED, 20, "exact"), (V.IDENTICAL, 10)], FAIL, ("resume", 20, 0)),
    ("newer weights do not block a resume", [(V.INFERENCE_ONLY, 20), (V.IDENTICAL, 10)], FAIL, ("resume", 10, 1)),
    ("nor does a newer adapter", [(V.ADAPTER, 20), (V.IDENTICAL, 10)], FAIL, ("resume", 10, 1)),
    ("nor own weights of another seed",
     [(V.INFERENCE_ONLY, 20, "SeedDiffers"), (V.IDENTICAL, 10)], ARCHIVE, ("resume", 10, 1)),
    ("a partial fit beside a resume, warm", [(V.PARTIAL, 20), (V.IDENTICAL, 10)], WARM, ("resume", 10, 1)),
    ("a partial fit beside a resume", [(V.PARTIAL, 20), (V.IDENTICAL, 10)], ARCHIVE, ("archive", 20)),
    ("unreadable", [(V.UNREADABLE, 10)], WARM, ("stop", C.UNREADABLE, False)),
    ("unreadable before a resume", [(V.UNREADABLE, 20), (V.IDENTICAL, 10)], ARCHIVE, ("stop", C.UNREADABLE, False)),
    ("a foreign one hides nothing unreadable",
     [(V.FOREIGN, 20), (V.UNREADABLE, 10)], ARCHIVE, ("stop", C.UNREADABLE, False)),
    ("foreign", [(V.FOREIGN, 20), (V.FOREIGN, 10)], ARCHIVE, ("archive", 20, 10)),
    ("foreign, warm start", [(V.FOREIGN, 20), (V.PARTIAL, 10)], WARM, ("archive", 20)),
    ("foreign, fail", [(V.FOREIGN, 20), (V.IDENTICAL, 10)], FAIL, ("stop", C.FOREIGN, True)),
    ("foreign beside a resume", [(V.FOREIGN, 20), (V.IDENTICAL, 10)], ARCHIVE, ("archive", 20)),
    ("exactly what does not fit leaves",
     [(V.FOREIGN, 30), (V.INCOMPLETE, 20), (V.INFERENCE_ONLY, 10)], ARCHIVE, ("archive", 30)),
    ("partial, archive", [(V.PARTIAL, 20), (V.FOREIGN, 10)], ARCHIVE, ("archive", 20, 10)),
    ("partial, fail", [(V.PARTIAL, 20)], FAIL, ("stop", C.PARTIAL, True)),
    ("partial, warm start", [(V.INCOMPLETE, 30), (V.PARTIAL, 20)], WARM, ("weights", 20, PREFIX, True)),
    ("partial that cannot be put together", [(V.PARTIAL, 20, "NotLoadable")], WARM, ("stop", C.NOT_RESUMABLE, False)),
    ("LDM names", [(V.RENAMED, 20)], ARCHIVE, ("weights", 20, PREFIX, False)),
    ("LDM names, fail", [(V.RENAMED, 20)], FAIL, ("stop", C.NOT_RESUMABLE, True)),
    ("another program's weights", [(V.INFERENCE_ONLY, 20)], ARCHIVE, ("weights", 20, PREFIX, False)),
    ("with its own state", [(V.INFERENCE_ONLY, 20, OTHERS_WITH_STATE)], ARCHIVE, ("weights", 20, PREFIX, False)),
    ("the newest of several", [(V.INFERENCE_ONLY, 20), (V.RENAMED, 10)], WARM, ("weights", 20, PREFIX, False)),
    ("another program's weights, fail", [(V.INFERENCE_ONLY, 20)], FAIL, ("stop", C.NOT_RESUMABLE, True)),
    ("a DCP folder", [(V.INFERENCE_ONLY, 20, "NotLoadable")], ARCHIVE, ("stop", C.NOT_RESUMABLE, False)),
    ("a DCP folder, warm start", [(V.INFERENCE_ONLY, 20, "NotLoadable")], WARM, ("stop", C.NOT_RESUMABLE, False)),
    ("an adapter", [(V.ADAPTER, 20)], ARCHIVE, ("stop", C.NOT_RESUMABLE, False)),
    ("an adapter, warm start", [(V.ADAPTER, 20)], WARM, ("stop", C.NOT_RESUMABLE, False)),
    *(
        (f"own progress: {why}", [(V.INFERENCE_ONLY, 20, why)], ARCHIVE, ("stop", C.NOT_RESUMABLE, False))
        for why in ("SeedDiffers", "GlobalBatchSizeDiffers", "SamplesSeenDiffers", "OptimizerDiffers", "EmaDiffers")
    ),
    ("own progress, renamed", [(V.RENAMED, 20, "SeedDiffers")], ARCHIVE, ("stop", C.NOT_RESUMABLE, False)),
    ("own progress, warm start", [(V.INFERENCE_ONLY, 20, "SeedDiffers")], WARM, ("weights", 20, PREFIX, False)),
    ("own progress, fail", [(V.INFERENCE_ONLY, 20, "SeedDiffers")], FAIL, ("stop", C.NOT_RESUMABLE, True)),
]  # fmt: skip


@pytest.mark.parametrize(("found", "policy", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_lies_in_the_prefix_decides(
    found: Found, policy: OnIncompatible, expected: tuple[str | int | bool, ...]
) -> None:
    assert said(choose(survey_of(found), policy)) == expected


WEIGHTS: list[tuple[str, Found, Found, OnIncompatible, tuple[str | int | bool, ...]]] = [
    ("nothing in the prefix", [], [(V.INFERENCE_ONLY, 7)], ARCHIVE, ("weights", 7, GIVEN, False)),
    ("another job's resumable checkpoint", [], [(V.IDENTICAL, 7)], FAIL, ("weights", 7, GIVEN, False)),
    ("another job's seed does not matter",
     [], [(V.INFERENCE_ONLY, 7, "SeedDiffers")], FAIL, ("weights", 7, GIVEN, False)),
    ("its newest complete one",
     [], [(V.INCOMPLETE, 9), (V.IDENTICAL, 8), (V.IDENTICAL, 7)], FAIL, ("weights", 8, GIVEN, False)),
    ("not when something can be resumed", [(V.IDENTICAL, 20)], [(V.IDENTICAL, 7)], ARCHIVE, ("resume", 20, 0)),
    ("before leftover weights", [(V.INFERENCE_ONLY, 20)], [(V.RENAMED, 7)], ARCHIVE, ("weights", 7, GIVEN, False)),
    ("before a leftover partial fit", [(V.PARTIAL, 20)], [(V.RENAMED, 7)], WARM, ("weights", 7, GIVEN, False)),
    ("before an adapter", [(V.ADAPTER, 20)], [(V.RENAMED, 7)], ARCHIVE, ("weights", 7, GIVEN, False)),
    ("but not before own progress",
     [(V.INFERENCE_ONLY, 20, "SeedDiffers")], [(V.RENAMED, 7)], ARCHIVE, ("stop", C.NOT_RESUMABLE, False)),
    ("own progress, warm start",
     [(V.INFERENCE_ONLY, 20, "SeedDiffers")], [(V.RENAMED, 7)], WARM, ("weights", 7, GIVEN, False)),
    ("what does not fit leaves first", [(V.FOREIGN, 20)], [(V.RENAMED, 7)], ARCHIVE, ("archive", 20)),
    ("what cannot be read stops", [(V.UNREADABLE, 20)], [(V.RENAMED, 7)], WARM, ("stop", C.UNREADABLE, False)),
    ("fail", [(V.INFERENCE_ONLY, 20)], [(V.RENAMED, 7)], FAIL, ("stop", C.NOT_RESUMABLE, True)),
    ("a partial fit", [], [(V.PARTIAL, 7)], ARCHIVE, ("stop", C.INITIAL_WEIGHTS_UNUSABLE, False)),
    ("a partial fit, warm start", [], [(V.PARTIAL, 7)], WARM, ("weights", 7, GIVEN, True)),
    ("an exact fit, warm start", [], [(V.IDENTICAL, 7)], WARM, ("weights", 7, GIVEN, False)),
    ("of another model", [], [(V.FOREIGN, 8), (V.IDENTICAL, 7)], WARM, ("stop", C.INITIAL_WEIGHTS_UNUSABLE, False)),
    ("unreadable", [], [(V.UNREADABLE, 8), (V.IDENTICAL, 7)], ARCHIVE, ("stop", C.INITIAL_WEIGHTS_UNUSABLE, False)),
    ("an adapter alone", [], [(V.ADAPTER, 7)], WARM, ("stop", C.INITIAL_WEIGHTS_UNUSABLE, False)),
    ("only incomplete", [], [(V.INCOMPLETE, 7)], ARCHIVE, ("stop", C.INITIAL_WEIGHTS_UNUSABLE, False)),
    ("nothing where they should be", [], [], ARCHIVE, ("stop", C.INITIAL_WEIGHTS_UNUSABLE, False)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "given_", "policy", "expected"), [row[1:] for row in WEIGHTS], ids=[row[0] for row in WEIGHTS]
)
def test_initial_weights_are_taken_when_nothing_can_be_resumed(
    found: Found, given_: Found, policy: OnIncompatible, expected: tuple[str | int | bool, ...]
) -> None:
    assert said(choose(survey_of(found), policy, survey_of(given_))) == expected


@pytest.mark.parametrize(
    ("found", "policy", "given_", "words"),
    [
        ([(V.INCOMPLETE, 10, "Damaged")], ARCHIVE, None, ("was damaged since", "delete its DAMAGED.json")),
        ([(V.INCOMPLETE, 10, "FilesMissing")], ARCHIVE, None, ("lost files since", "Put them back")),
        ([(V.UNREADABLE, 10)], ARCHIVE, None, ("could not be read", "left untouched", "Mend it")),
        ([(V.FOREIGN, 10)], FAIL, None, ("onIncompatible is Fail", "set it to Archive")),
        ([(V.PARTIAL, 10)], FAIL, None, ("WarmStart to begin with what fits",)),
        ([(V.INFERENCE_ONLY, 10, "SeedDiffers")], ARCHIVE, None, ("because", "WarmStart")),
        ([(V.ADAPTER, 10)], ARCHIVE, None, ("Move it elsewhere", "checkpoint.uri of its own")),
        ([], ARCHIVE, [(V.PARTIAL, 10)], ("model.initialWeights.uri", "99%", "WarmStart")),
        ([], ARCHIVE, [(V.FOREIGN, 10)], ("model.initialWeights.uri", "checkpoint-10 is foreign", "Name weights")),
        ([], ARCHIVE, [], ("model.initialWeights.uri", "no checkpoint", "Correct it")),
    ],
)
def test_a_stop_names_the_place_the_reason_and_the_way_out(
    found: Found, policy: OnIncompatible, given_: Found | None, words: tuple[str, ...]
) -> None:
    choice = choose(survey_of(found), policy, None if given_ is None else survey_of(given_))
    assert isinstance(choice, Stop)
    for word in words:
        assert word in choice.message


def test_weights_are_never_taken_silently() -> None:
    choice = choose(survey_of([(V.PARTIAL, 10)]), WARM)
    assert isinstance(choice, BeginWith)
    for words in ("step 0", "checkpoint-10", "because partial", "1 parameters start fresh (conv_in.weight"):
        assert words in choice.message


SOME = st.sampled_from(["", "", "exact", "SeedDiffers", "NotLoadable", OTHERS_WITH_STATE.value, "SomethingNew"])
SURVEYS = st.lists(st.tuples(st.sampled_from(V), SOME), max_size=6).map(
    lambda kinds: survey_of([(kind, step, reason) for step, (kind, reason) in enumerate(kinds)])
)


@given(SURVEYS, st.sampled_from(OnIncompatible), st.none() | SURVEYS)
def test_every_survey_has_one_safe_answer(found: Survey, policy: OnIncompatible, weights: Survey | None) -> None:
    choice = choose(found, policy, weights)
    newest = max((item.step for item in found.judgements if item.verdict.resumable), default=-1)
    if isinstance(choice, Archive):
        assert policy is not FAIL
        assert {item.verdict.kind for item in choice.judgements} <= {V.FOREIGN, V.PARTIAL}
        assert all(has_to_leave(item, policy) for item in choice.judgements)
        assert not [item for item in found.judgements if item.verdict.kind is V.UNREADABLE and item.step > newest]
    if isinstance(choice, Resume):
        assert choice.judgement.step == newest
    if isinstance(choice, Resume) or (isinstance(choice, BeginWith) and choice.source is PREFIX):
        # Whatever newer thing is passed over is said, complete or not.
        newer = [item for item in found.judgements if item.step > choice.judgement.step]
        assert list(choice.skipped) == newer
    if isinstance(choice, StartFresh):
        assert {item.verdict.kind for item in found.judgements} <= {V.INCOMPLETE}
    if isinstance(choice, BeginWith):
        # Never while something could be resumed, never what does not fit, never with silently random tensors.
        assert newest == -1
        assert choice.judgement.verdict.usable_as_initial_weights
        assert choice.allow_partial == (choice.judgement.verdict.kind is V.PARTIAL)
        assert not choice.allow_partial or policy is WARM
    shown = decisive(found, choice)
    assert shown is not None or isinstance(choice, Stop) or not found.judgements
