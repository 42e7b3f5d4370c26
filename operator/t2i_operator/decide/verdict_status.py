"""The verdict as status, condition and event: what `kubectl describe` says of the checkpoints, and when it is said."""

from collections.abc import Sequence

from t2i_api.conditions import CheckpointReason, ConditionType
from t2i_api.spec_run import ArchiveMethod
from t2i_api.status import (
    MAXIMUM_LISTED_NAMES,
    ArchiveStatus,
    CheckpointStatus,
    ShapeMismatchStatus,
    SkippedStatus,
    VerdictKind,
)
from t2i_checkpoint.choose import BeginWith, Choice, Resume, StartFresh, decisive
from t2i_checkpoint.inspect import Judgement, Survey
from t2i_checkpoint.passed_over import passed_over
from t2i_operator.decide.archiving import archive_status
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.reasons import EventReason
from t2i_operator.observed import ArchiveFacts, PreflightFacts

_NAMES_IN_EVENT = 3


def show(draft: Draft, facts: PreflightFacts, survey: Survey, choice: Choice, number: int) -> None:
    """Write the verdict that decides into the status, and say it once."""
    judgement = decisive(survey, choice)
    new = _status(draft, judgement, number)
    given = draft.observed.job.spec.model.initial_weights
    elsewhere = judgement is not None and judgement not in survey.judgements and given is not None
    skipped = choice.skipped if isinstance(choice, Resume | StartFresh | BeginWith) else ()
    costs = [item for item in (survey, facts.initial_weights) if item is not None]
    new = new.model_copy(
        update={
            "uri": given.uri if elsewhere and given else None,
            "skipped": len(skipped),
            "skipped_reasons": _reasons(skipped),
            "bytes_read": sum(item.bytes_read for item in costs),
            "requests": sum(item.requests for item in costs),
        }
    )
    old = draft.status.checkpoint
    if old is not None and _what_is_said(old) == _what_is_said(new):
        new = new.model_copy(update={"judged_at": old.judged_at})
    elif judgement is not None:
        draft.event(EventReason.CHECKPOINT_JUDGED, _sentence(judgement), warning=not judgement.verdict.resumable)
    draft.update(checkpoint=new)


def _what_is_said(status: CheckpointStatus) -> tuple[object, ...]:
    return status.uri, status.name, status.verdict, status.reason, status.judged_for_attempt


def _reasons(skipped: Sequence[Judgement]) -> list[SkippedStatus]:
    """Return why checkpoints were passed over; the API server keeps one entry a reason."""
    found: dict[str, SkippedStatus] = {}
    for group in passed_over(skipped):
        reason = group.reason[:128]
        other = found.get(reason)
        if other is not None:
            found[reason] = other.model_copy(update={"count": other.count + group.count})
            continue
        found[reason] = SkippedStatus(
            reason=reason,
            count=group.count,
            newest=group.newest.name[:1024],
            verdict=group.verdict,
            explanation=group.newest.verdict.explanation[:1024],
        )
    return list(found.values())[:MAXIMUM_LISTED_NAMES]


def unfit_is_shown(draft: Draft, number: int) -> bool:
    """Whether the status still shows the verdict whose checkpoints this very preflight had archived."""
    shown = draft.status.checkpoint
    if shown is None or shown.judged_for_attempt != number or shown.uri is not None:
        return False
    return shown.verdict in {VerdictKind.FOREIGN, VerdictKind.PARTIAL}


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
            _archived(new),
        )
    draft.update(archive=new)


def _archived(archive: ArchiveStatus) -> str:
    what = f"{archive.objects} objects, {archive.bytes} bytes"
    if archive.method == ArchiveMethod.REFERENCE:
        return f"{archive.checkpoints} checkpoint(s) archived by {archive.location} and left in place ({what})"
    return f"{archive.checkpoints} checkpoint(s) moved to {archive.location} ({what}, every byte verified)"


def _finished_for(draft: Draft, facts: PreflightFacts, number: int) -> ArchiveFacts | None:
    """Return the bucket's last archive if this attempt's verdict led to it: an older one is not this job's news."""
    shown, last = draft.status.checkpoint, facts.last_archive
    if not unfit_is_shown(draft, number) or shown is None or last is None:
        return None
    young = shown.judged_at is None or last.finished_at is None or last.finished_at >= shown.judged_at
    return last if young else None


def _status(draft: Draft, judgement: Judgement | None, number: int) -> CheckpointStatus:
    when = {"judged_for_attempt": number, "judged_at": draft.now}
    if judgement is None:
        explanation = "no checkpoint lies in the job's prefix"
        return CheckpointStatus(reason=CheckpointReason.NO_CHECKPOINT, explanation=explanation, **when)
    verdict = judgement.verdict
    return CheckpointStatus(
        verdict=verdict.kind,
        reason=verdict.reason[:128],
        explanation=verdict.explanation[:4096],
        name=judgement.name[:1024],
        step=judgement.step,
        stored_model=verdict.stored_model[:1024],
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
        **when,
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
