"""Which checkpoint an attempt starts from: the survey and `onIncompatible` decide, nothing else does.

Safety first: what could not be read is never archived, and nothing is archived while a fitting checkpoint might hide
behind a read error.
"""

from dataclasses import dataclass

from t2i_api.conditions import CheckpointReason
from t2i_api.spec_run import OnIncompatible
from t2i_api.status import VerdictKind
from t2i_checkpoint.inspect import Judgement, Survey


@dataclass(frozen=True)
class Resume:
    """Go on from this checkpoint; `skipped` newer ones are incomplete."""

    judgement: Judgement
    skipped: int


@dataclass(frozen=True)
class StartFresh:
    """Nothing there that could be resumed or would be overwritten."""

    skipped: int


@dataclass(frozen=True)
class Archive:
    """Move these away first, then look again."""

    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class Stop:
    """Touch nothing; `terminal` when waiting cannot help."""

    judgement: Judgement
    reason: CheckpointReason
    message: str
    terminal: bool


Choice = Resume | StartFresh | Archive | Stop


def choose(survey: Survey, on_incompatible: OnIncompatible) -> Choice:
    """Return what to do about everything that lies in the job's prefix, newest first."""
    resumable = survey.resumable
    newer = _newer_than(survey, resumable)
    blocking = [judgement for judgement in newer if judgement.verdict.kind is VerdictKind.UNREADABLE]
    if blocking:
        return _unreadable(blocking[0])
    foreign = survey.archivable
    if foreign and on_incompatible is OnIncompatible.FAIL:
        return Stop(
            foreign[0],
            CheckpointReason.FOREIGN,
            f"{foreign[0].folder} does not fit: {foreign[0].verdict.explanation}. checkpoint.onIncompatible is Fail: "
            "set it to Archive to move such checkpoints away, or give the job a checkpoint.uri of its own",
            terminal=True,
        )
    if foreign:
        return Archive(foreign)
    skipped = sum(judgement.verdict.kind is VerdictKind.INCOMPLETE for judgement in newer)
    if resumable is not None:
        return Resume(resumable, skipped)
    weights_only = [item for item in newer if item.verdict.kind is not VerdictKind.INCOMPLETE]
    if weights_only:
        return _weights_only(weights_only[0])
    return StartFresh(skipped)


def decisive(survey: Survey) -> Judgement | None:
    """Return the judgement that the status shows: what decides, or the newest."""
    order = (VerdictKind.UNREADABLE, VerdictKind.FOREIGN)
    newer = _newer_than(survey, survey.resumable)
    for kind in order:
        for judgement in newer:
            if judgement.verdict.kind is kind:
                return judgement
    return survey.resumable or next(iter(survey.judgements), None)


def _newer_than(survey: Survey, resumable: Judgement | None) -> list[Judgement]:
    newer: list[Judgement] = []
    for judgement in survey.judgements:
        if judgement is resumable:
            break
        newer.append(judgement)
    return newer


def _unreadable(judgement: Judgement) -> Stop:
    return Stop(
        judgement,
        CheckpointReason.UNREADABLE,
        f"{judgement.folder} could not be read: {judgement.verdict.explanation}. It is left untouched and nothing is "
        "started. Mend it, move it elsewhere, or give the job a checkpoint.uri of its own; the operator looks again",
        terminal=False,
    )


def _weights_only(judgement: Judgement) -> Stop:
    return Stop(
        judgement,
        CheckpointReason.NOT_RESUMABLE,
        f"{judgement.folder} has weights that fit, but not the state that an exact resume needs: "
        f"{judgement.verdict.explanation}. It is left untouched and nothing is started. Move it elsewhere, or give the "
        "job a checkpoint.uri of its own; the operator looks again",
        terminal=False,
    )
