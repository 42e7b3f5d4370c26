"""What does not fit goes to the archive before anything starts; then the bucket is looked at afresh."""

from datetime import timedelta

from t2i_api.conditions import CheckpointReason, ConditionType, State
from t2i_api.spec_run import ArchiveMethod
from t2i_api.status import ArchiveStatus
from t2i_checkpoint.choose import Archive
from t2i_operator.decide import restart
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.progress import readable, readable_bytes
from t2i_operator.decide.reasons import EventReason
from t2i_operator.observed import ArchiveFacts, PreflightFacts
from t2i_operator.plan import StartArchive, StartPreflight

_POLL = timedelta(seconds=1)


def archive(draft: Draft, preflight: PreflightFacts, choice: Archive, number: int) -> None:
    """Move one step towards an archive of everything that does not fit."""
    facts = draft.observed.archive
    if facts is not None and _is_answered(facts, preflight):
        # The survey is younger than that archive's end, and what it found still has to go.
        facts = None
    message = _intention(draft, facts, len(choice.judgements))
    if facts is None or facts.attempt != number:
        draft.actions.append(StartArchive(attempt=number, judgements=choice.judgements))
    elif facts.error is not None:
        _failed(draft, facts, number)
        return
    else:
        _warn(draft, facts)
        if facts.location:
            draft.update(archive=archive_status(facts))
        if facts.done:
            # What was judged before the archive is stale now.
            draft.actions.append(StartPreflight(attempt=number))
    draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, "False", CheckpointReason.ARCHIVING, message)
    draft.condition(ConditionType.ADMITTED, "False", CheckpointReason.ARCHIVING, message)
    draft.state(State.ARCHIVING, message)
    draft.update(message=f"{message}{_how_far(facts)}"[:4096])
    draft.look_again(_POLL)


def archive_status(facts: ArchiveFacts) -> ArchiveStatus:
    """Return what the status says of an archive."""
    return ArchiveStatus(
        location=facts.location,
        checkpoints=facts.checkpoints,
        objects=facts.objects,
        bytes=facts.bytes_total,
        bytes_done=facts.bytes_done,
        method=facts.method,
        bytes_per_second=None if facts.done or facts.bytes_per_second is None else int(facts.bytes_per_second),
        eta="" if facts.done else readable(facts.eta_seconds),
        warning=facts.warning[:4096],
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


def _intention(draft: Draft, facts: ArchiveFacts | None, count: int) -> str:
    asked = draft.observed.job.spec.checkpoint.archive.method
    method = facts.method if facts is not None and facts.method else asked
    if method == ArchiveMethod.REFERENCE:
        return f"archiving {count} checkpoint(s) that do not fit by a pointer; their bytes stay where they are"
    return f"moving {count} checkpoint(s) that do not fit to the archive, verifying every byte"


def _how_far(facts: ArchiveFacts | None) -> str:
    if facts is None or facts.done or not facts.bytes_done:
        return ""
    parts = [f"{readable_bytes(facts.bytes_done)} of {readable_bytes(facts.bytes_total)}"]
    if facts.bytes_per_second:
        parts.append(f"{readable_bytes(facts.bytes_per_second)}/s")
    if facts.eta_seconds is not None:
        parts.append(f"{readable(facts.eta_seconds)} left")
    return f": {', '.join(parts)}"


def _warn(draft: Draft, facts: ArchiveFacts) -> None:
    """Say once what the store does not honour."""
    told = draft.status.archive
    if facts.warning and (told is None or told.location != facts.location or not told.warning):
        draft.event(EventReason.STORE_NOT_SAFE, facts.warning, warning=True)


def _failed(draft: Draft, facts: ArchiveFacts, number: int) -> None:
    message = f"the archive did not finish, nothing was lost: {facts.error.message if facts.error else ''}"
    old = draft.status.condition(ConditionType.CHECKPOINT_COMPATIBLE)
    if old is None or old.reason != CheckpointReason.ARCHIVE_FAILED:
        draft.event(CheckpointReason.ARCHIVE_FAILED, message, warning=True)
    draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, "Unknown", CheckpointReason.ARCHIVE_FAILED, message)
    draft.condition(ConditionType.ADMITTED, "False", CheckpointReason.ARCHIVE_FAILED, message)
    draft.state(State.BLOCKED, message)
    ended = facts.finished_at or draft.now
    admitted = draft.status.condition(ConditionType.ADMITTED)
    due = ended + restart.pause_between_looks(admitted.last_transition_time if admitted else None, ended)
    if draft.now >= due:
        # It finishes or gives up what was begun; if something is left to archive, that is a new archive.
        draft.actions.append(StartPreflight(attempt=number))
        draft.look_again(_POLL)
    else:
        draft.look_again(due - draft.now)
