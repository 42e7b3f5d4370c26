"""The verdict as status, condition and event: what `kubectl describe` says of the checkpoints, and when it is said."""

from t2i_api.conditions import CheckpointReason, ConditionType
from t2i_api.status import MAXIMUM_LISTED_NAMES, CheckpointStatus, ShapeMismatchStatus, VerdictKind
from t2i_checkpoint.inspect import Judgement, Survey
from t2i_operator.decide.archiving import archive_status
from t2i_operator.decide.checkpoint import Choice, Resume, StartFresh
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.reasons import EventReason
from t2i_operator.observed import ArchiveFacts, PreflightFacts

_NAMES_IN_EVENT = 3


def show(draft: Draft, survey: Survey, judgement: Judgement | None, choice: Choice, number: int) -> None:
    """Write the verdict into the status, and say it once."""
    skipped = choice.skipped if isinstance(choice, Resume | StartFresh) else 0
    new = _status(draft, survey, judgement, skipped, number)
    old = draft.status.checkpoint
    same = old is not None and (old.name, old.verdict, old.reason, old.judged_for_attempt) == (
        new.name,
        new.verdict,
        new.reason,
        new.judged_for_attempt,
    )
    if same and old is not None:
        new = new.model_copy(update={"judged_at": old.judged_at})
    elif judgement is not None:
        foreign = new.verdict is not VerdictKind.IDENTICAL
        draft.event(EventReason.CHECKPOINT_JUDGED, _sentence(judgement), warning=foreign)
    draft.update(checkpoint=new)


def foreign_is_shown(draft: Draft, number: int) -> bool:
    """Whether the status still shows the verdict whose checkpoints this very preflight had archived."""
    shown = draft.status.checkpoint
    return shown is not None and shown.judged_for_attempt == number and shown.verdict is VerdictKind.FOREIGN


def settle_archive(draft: Draft, facts: PreflightFacts, number: int) -> None:
    """Record the end of an archive, also of one that a killed operator began, and say it once."""
    archived = draft.observed.archive
    mine = archived is not None and archived.done and archived.attempt == number
    done = archived if mine else _finished_for(draft, facts, number)
    if done is None or not done.done:
        return
    new = archive_status(done)
    old = draft.status.archive
    told = old is not None and old.location == new.location and old.completed_at is not None
    event_told = draft.status.condition(ConditionType.CHECKPOINT_COMPATIBLE)
    if not told or (event_told is not None and event_told.reason == CheckpointReason.ARCHIVING):
        draft.event(
            CheckpointReason.ARCHIVED,
            f"{new.checkpoints} checkpoint(s) moved to {new.location} "
            f"({new.objects} objects, {new.bytes} bytes, every byte verified)",
        )
    draft.update(archive=new)


def _finished_for(draft: Draft, facts: PreflightFacts, number: int) -> ArchiveFacts | None:
    """Return the bucket's last archive if this attempt's verdict led to it: an older one is not this job's news."""
    shown, last = draft.status.checkpoint, facts.last_archive
    if not foreign_is_shown(draft, number) or shown is None or last is None:
        return None
    young = shown.judged_at is None or last.finished_at is None or last.finished_at >= shown.judged_at
    return last if young else None


def compatible(draft: Draft, resumed: Judgement | None, number: int) -> None:
    """Set the condition of an attempt that may start."""
    if resumed is not None:
        draft.condition(
            ConditionType.CHECKPOINT_COMPATIBLE, "True", CheckpointReason.IDENTICAL, resumed.verdict.explanation
        )
    elif foreign_is_shown(draft, number) and draft.status.archive is not None:
        where = draft.status.archive.location
        draft.condition(
            ConditionType.CHECKPOINT_COMPATIBLE,
            "True",
            CheckpointReason.ARCHIVED,
            f"what did not fit lies in {where}; training starts at step 0",
        )
    else:
        draft.condition(
            ConditionType.CHECKPOINT_COMPATIBLE,
            "True",
            CheckpointReason.NO_CHECKPOINT,
            "nothing to resume: training starts at step 0",
        )


def _status(draft: Draft, survey: Survey, judgement: Judgement | None, skipped: int, number: int) -> CheckpointStatus:
    cost = {"judged_for_attempt": number, "judged_at": draft.now, "skipped": skipped}
    if judgement is None:
        return CheckpointStatus(
            reason=CheckpointReason.NO_CHECKPOINT,
            explanation="no checkpoint lies in the job's prefix",
            bytes_read=survey.bytes_read,
            requests=survey.requests,
            **cost,
        )
    verdict = judgement.verdict
    return CheckpointStatus(
        verdict=verdict.kind,
        reason=verdict.reason[:128],
        explanation=verdict.explanation[:4096],
        name=judgement.name[:1024],
        step=judgement.step,
        matched=verdict.matched,
        missing=len(verdict.missing),
        unexpected=len(verdict.unexpected),
        mismatched=len(verdict.mismatched),
        matched_parameter_share=round(verdict.matched_parameter_share, 6),
        first_missing=[name[:1024] for name in verdict.missing[:MAXIMUM_LISTED_NAMES]],
        first_unexpected=[name[:1024] for name in verdict.unexpected[:MAXIMUM_LISTED_NAMES]],
        first_mismatched=[
            ShapeMismatchStatus(name=item.name[:1024], stored=list(item.stored)[:8], wanted=list(item.wanted)[:8])
            for item in verdict.mismatched[:MAXIMUM_LISTED_NAMES]
        ],
        bytes_read=survey.bytes_read,
        requests=survey.requests,
        **cost,
    )


def _sentence(judgement: Judgement) -> str:
    verdict = judgement.verdict
    parts = [f"{judgement.folder} ({judgement.label or 'unlabelled'}) is {verdict.kind}: {verdict.explanation}"]
    if verdict.missing:
        parts.append(f"missing: {', '.join(verdict.missing[:_NAMES_IN_EVENT])} ({len(verdict.missing)} in all)")
    if verdict.unexpected:
        parts.append(
            f"unexpected: {', '.join(verdict.unexpected[:_NAMES_IN_EVENT])} ({len(verdict.unexpected)} in all)"
        )
    return "; ".join(parts)
