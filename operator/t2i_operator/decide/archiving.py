"""Foreign checkpoints go to the archive before anything starts; then the bucket is looked at afresh."""

from datetime import timedelta

from t2i_api.conditions import CheckpointReason, ConditionType, State
from t2i_api.status import ArchiveStatus
from t2i_operator.decide.checkpoint import Archive
from t2i_operator.decide.draft import Draft
from t2i_operator.observed import ArchiveFacts, PreflightFacts
from t2i_operator.plan import StartArchive, StartPreflight

_POLL = timedelta(seconds=1)
_RETRY = timedelta(seconds=30)


def archive(draft: Draft, preflight: PreflightFacts, choice: Archive, number: int) -> None:
    """Move one step towards an archive of everything that does not fit."""
    facts = draft.observed.archive
    if facts is not None and _is_answered(facts, preflight):
        # The survey is younger than that archive's end, and what it found still has to go.
        facts = None
    message = f"moving {len(choice.judgements)} checkpoint(s) that do not fit to the archive, verifying every byte"
    if facts is None or facts.attempt != number:
        draft.actions.append(StartArchive(attempt=number, judgements=choice.judgements))
    elif facts.error is not None:
        _failed(draft, facts, number)
        return
    else:
        _show(draft, facts)
        if facts.done:
            # What was judged before the archive is stale now.
            draft.actions.append(StartPreflight(attempt=number))
    draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, "False", CheckpointReason.ARCHIVING, message)
    draft.condition(ConditionType.ADMITTED, "False", CheckpointReason.ARCHIVING, message)
    draft.state(State.ARCHIVING, message)
    draft.look_again(_POLL)


def archive_status(facts: ArchiveFacts) -> ArchiveStatus:
    """Return what the status says of an archive."""
    return ArchiveStatus(
        location=facts.location,
        checkpoints=facts.checkpoints,
        objects=facts.objects,
        bytes=facts.bytes_total,
        bytes_done=facts.bytes_done,
        completed_at=facts.finished_at.replace(microsecond=0) if facts.done and facts.finished_at else None,
    )


def _is_answered(facts: ArchiveFacts, preflight: PreflightFacts) -> bool:
    over = facts.done or facts.error is not None
    return (
        over
        and facts.finished_at is not None
        and preflight.finished_at is not None
        and preflight.finished_at > facts.finished_at
    )


def _show(draft: Draft, facts: ArchiveFacts) -> None:
    if facts.location:
        draft.update(archive=archive_status(facts))


def _failed(draft: Draft, facts: ArchiveFacts, number: int) -> None:
    message = f"the archive did not finish, nothing was lost: {facts.error.message if facts.error else ''}"
    old = draft.status.condition(ConditionType.CHECKPOINT_COMPATIBLE)
    if old is None or old.reason != CheckpointReason.ARCHIVE_FAILED:
        draft.event(CheckpointReason.ARCHIVE_FAILED, message, warning=True)
    draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, "Unknown", CheckpointReason.ARCHIVE_FAILED, message)
    draft.condition(ConditionType.ADMITTED, "False", CheckpointReason.ARCHIVE_FAILED, message)
    draft.state(State.BLOCKED, message)
    due = (facts.finished_at or draft.now) + _RETRY
    if draft.now >= due:
        # It finishes or gives up what was begun; if something is left to archive, that is a new archive.
        draft.actions.append(StartPreflight(attempt=number))
        draft.look_again(_POLL)
    else:
        draft.look_again(due - draft.now)
