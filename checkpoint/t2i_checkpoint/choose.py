"""What a run begins with: the survey and `onIncompatible` decide, and nothing else does. Pure and total.

Operator, trainer (without a cluster) and command line ask this one function. Safety first: what could not be read is
never put away, nothing is put away while a fitting checkpoint might hide behind a read error, and weights are never
taken silently: every choice but a resume and an empty prefix comes with a sentence to tell the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_api.conditions import CheckpointReason
from t2i_api.spec_run import OnIncompatible
from t2i_api.status import VerdictKind
from t2i_checkpoint.damage import DAMAGED_REASON
from t2i_checkpoint.layout import DAMAGED
from t2i_checkpoint.verdict import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_checkpoint.inspect import Judgement, Survey

_UNTIL_THEN = "Nothing is started until then"
# There is a manifest, so it was whole once: what happened since, and the way back.
_LOST = {
    "FilesMissing": ("lost files", "Put them back"),
    DAMAGED_REASON: ("was damaged", f"Put sound bytes back and delete its {DAMAGED}"),
}
_ELSEWHERE = f"Move it elsewhere, or give the job a checkpoint.uri of its own. {_UNTIL_THEN}"
_MEND = f"Mend it, move it elsewhere, or give the job a checkpoint.uri of its own. {_UNTIL_THEN}"
# Weights that fit and that no change of the job could resume; with any other reason they may be its own progress.
_NEVER_RESUMABLE = {
    Reason.WEIGHTS_WITHOUT_RESUME_STATE,
    Reason.RESUME_STATE_OF_ANOTHER_PROGRAM,
    Reason.NAMES_CONVERTIBLE,
}


@dataclass(frozen=True)
class Resume:
    """Go on from this checkpoint; `skipped` are all newer ones, complete or not, newest first."""

    judgement: Judgement
    skipped: tuple[Judgement, ...] = ()


@dataclass(frozen=True)
class StartFresh:
    """Nothing there that could be resumed or would be overwritten: seeded random weights at step 0.

    `skipped` is what lies there all the same.
    """

    skipped: tuple[Judgement, ...] = ()


class WeightsSource(StrEnum):
    """Where initial weights lie."""

    PREFIX = "Prefix"
    INITIAL_WEIGHTS = "InitialWeights"


@dataclass(frozen=True)
class BeginWith:
    """Begin at step 0 with these weights: of `checkpoint.uri` itself, or of `model.initialWeights.uri`.

    `skipped` is what lies in the prefix and is passed over: what is newer, or all of it for the latter source.
    """

    judgement: Judgement
    source: WeightsSource
    allow_partial: bool
    message: str
    skipped: tuple[Judgement, ...] = ()


@dataclass(frozen=True)
class Archive:
    """Put these away first, then look again."""

    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class Stop:
    """Touch nothing; `terminal` when waiting cannot help. `judgement` is what it is about, if anything is there."""

    judgement: Judgement | None
    reason: CheckpointReason
    message: str
    terminal: bool


Choice = Resume | StartFresh | BeginWith | Archive | Stop


def choose(survey: Survey, on_incompatible: OnIncompatible, initial_weights: Survey | None = None) -> Choice:
    """Return what to do about everything that lies in the job's prefix.

    `initial_weights` is the survey of `model.initialWeights.uri` (judged with `Wanted.run` None); it is only looked at
    when nothing in the prefix can be resumed, so a caller need not make it otherwise. None: the job names none.
    """
    resumable = survey.resumable
    newer = _newer_than(survey.judgements, resumable)
    blocking = [item for item in newer if item.verdict.kind is VerdictKind.UNREADABLE]
    if blocking:
        return _unreadable(blocking[0])
    unfit = tuple(item for item in survey.judgements if has_to_leave(item, on_incompatible))
    if unfit:
        return _refused(unfit[0]) if on_incompatible is OnIncompatible.FAIL else Archive(unfit)
    if resumable is not None:
        return Resume(resumable, newer)
    return _begin(survey.judgements, on_incompatible, initial_weights)


def decisive(survey: Survey, choice: Choice) -> Judgement | None:
    """Return the judgement that a status or a table shows for this choice; None: there is no checkpoint at all."""
    match choice:
        case Archive():
            return choice.judgements[0]
        case StartFresh():
            return next(iter(survey.judgements), None)
        case _:
            return choice.judgement


def _newer_than(judgements: Sequence[Judgement], chosen: Judgement | None) -> tuple[Judgement, ...]:
    """Return what comes before the chosen checkpoint, newest first; everything if there is none."""
    newer: list[Judgement] = []
    for judgement in judgements:
        if judgement is chosen:
            break
        newer.append(judgement)
    return tuple(newer)


def has_to_leave(judgement: Judgement, on_incompatible: OnIncompatible) -> bool:
    """Whether a checkpoint has to be put away before anything starts; a partial fit may serve a warm start."""
    serves = on_incompatible is OnIncompatible.WARM_START and judgement.verdict.kind is VerdictKind.PARTIAL
    return judgement.verdict.archivable and not serves


def keeps_its_place(judgement: Judgement, on_incompatible: OnIncompatible) -> bool:
    """Whether an archive that was begun with it must not go on: judgement or policy are not what they were then.

    What cannot be judged now decides nothing.
    """
    if judgement.verdict.kind in {VerdictKind.INCOMPLETE, VerdictKind.UNREADABLE}:
        return False
    return on_incompatible is OnIncompatible.FAIL or not has_to_leave(judgement, on_incompatible)


def _begin(judgements: tuple[Judgement, ...], policy: OnIncompatible, initial_weights: Survey | None) -> Choice:
    """Begin at step 0, unless the newest complete thing in the prefix, or one that was complete, needs a person."""
    leftover = next((item for item in judgements if item.verdict.kind is not VerdictKind.INCOMPLETE), None)
    if leftover is not None and (stop := _must_stop(leftover, policy, initial_weights)) is not None:
        return stop
    lost = next((item for item in judgements if _was_committed(item)), None)
    if lost is not None and policy is not OnIncompatible.WARM_START:
        # This is the run's lost progress, not a save that was cut off.
        happened, way_back = _LOST[lost.verdict.reason]
        why = f"it was committed and {happened} since: {lost.verdict.explanation}"
        return _not_resumable(lost, f"{why}. {way_back}, or move it elsewhere to begin at step 0. {_UNTIL_THEN}")
    if initial_weights is not None:
        return _given(initial_weights, policy, judgements)
    if leftover is None:
        return StartFresh(judgements)
    return _begin_with(leftover, WeightsSource.PREFIX, policy, _newer_than(judgements, leftover))


def _was_committed(judgement: Judgement) -> bool:
    return judgement.verdict.kind is VerdictKind.INCOMPLETE and judgement.verdict.reason in _LOST


def _must_stop(leftover: Judgement, policy: OnIncompatible, initial_weights: Survey | None) -> Stop | None:
    """Say why what lies in the prefix needs a person, if it does."""
    verdict = leftover.verdict
    if policy is OnIncompatible.FAIL:
        hint = "checkpoint.onIncompatible is Fail: move it elsewhere, or give the job a checkpoint.uri of its own"
        return _not_resumable(leftover, f"{verdict.explanation}. {hint}", terminal=True)
    mendable = verdict.kind is not VerdictKind.PARTIAL and verdict.reason not in _NEVER_RESUMABLE
    if verdict.usable_as_initial_weights and mendable and policy is not OnIncompatible.WARM_START:
        # It may be the job's own progress: a start at step 0 must be asked for.
        way_out = "set checkpoint.onIncompatible to WarmStart to begin at step 0 with its weights, or move it elsewhere"
        return _not_resumable(leftover, f"{verdict.explanation}. Mend that, or {way_out}. {_UNTIL_THEN}")
    if initial_weights is None and not verdict.usable_as_initial_weights:
        return _not_resumable(leftover, f"{verdict.explanation}. {_ELSEWHERE}")
    return None


def _begin_with(
    judgement: Judgement, source: WeightsSource, policy: OnIncompatible, skipped: tuple[Judgement, ...]
) -> BeginWith:
    verdict = judgement.verdict
    partial = policy is OnIncompatible.WARM_START and verdict.kind is VerdictKind.PARTIAL
    place = judgement.folder or judgement.name
    where = place if source is WeightsSource.PREFIX else f"model.initialWeights ({place})"
    fresh = f"; {len(verdict.fresh)} parameters start fresh ({', '.join(verdict.fresh[:3])}, ...)" if partial else ""
    message = (
        f"starting at step 0 with the weights of {where}: {verdict.explanation}{fresh}. "
        "Optimizer, learning-rate schedule and data order begin anew"
    )
    return BeginWith(judgement, source, partial, message, skipped)


def _given(survey: Survey, policy: OnIncompatible, skipped: tuple[Judgement, ...]) -> Choice:
    """Take the newest complete checkpoint at `model.initialWeights.uri`, or say why it cannot be taken."""
    found = next((item for item in survey.judgements if item.verdict.kind is not VerdictKind.INCOMPLETE), None)
    name = "model.initialWeights.uri"
    if found is None:
        there = f"only incomplete ones, newest {survey.judgements[0].folder}" if survey.judgements else "none"
        return _unusable(None, f"{name}: no checkpoint to begin with ({there}). Correct it, or remove it")
    verdict, place = found.verdict, found.folder or found.name
    if not verdict.usable_as_initial_weights:
        wrong = f"{name}: {place} is {verdict.kind}: {verdict.explanation}"
        return _unusable(found, f"{wrong}. Name weights that fit, or remove it")
    if verdict.kind is VerdictKind.PARTIAL and policy is not OnIncompatible.WARM_START:
        share = f"{name}: {place} fits only in part ({verdict.matched_parameter_share:.0%}): {verdict.explanation}"
        way_out = "Set checkpoint.onIncompatible to WarmStart to begin with what fits, or name other weights"
        return _unusable(found, f"{share}. {way_out}")
    return _begin_with(found, WeightsSource.INITIAL_WEIGHTS, policy, skipped)


def _unusable(judgement: Judgement | None, message: str) -> Stop:
    reason = CheckpointReason.INITIAL_WEIGHTS_UNUSABLE
    return Stop(judgement, reason, f"{message}. {_UNTIL_THEN}", terminal=False)


def _unreadable(judgement: Judgement) -> Stop:
    message = f"{judgement.folder} could not be read and is left untouched: {judgement.verdict.explanation}. {_MEND}"
    return Stop(judgement, CheckpointReason.UNREADABLE, message, terminal=False)


def _refused(judgement: Judgement) -> Stop:
    verdict = judgement.verdict
    partial = verdict.kind is VerdictKind.PARTIAL
    ways = "Archive to put such checkpoints away, to WarmStart to begin with what fits," if partial else "Archive,"
    message = (
        f"{judgement.folder} does not fit: {verdict.explanation}. checkpoint.onIncompatible is Fail: "
        f"set it to {ways} or give the job a checkpoint.uri of its own"
    )
    reason = CheckpointReason.PARTIAL if partial else CheckpointReason.FOREIGN
    return Stop(judgement, reason, message, terminal=True)


def _not_resumable(judgement: Judgement, why: str, *, terminal: bool = False) -> Stop:
    message = f"{judgement.folder} cannot be resumed and is left untouched: {why}"
    return Stop(judgement, CheckpointReason.NOT_RESUMABLE, message, terminal)
