"""What an attempt begins with, written into the status before anything of it exists: a resume, weights, or step 0."""

from datetime import timedelta

from t2i_api.conditions import CheckpointReason, ConditionType, State
from t2i_api.spec_storage import InitialWeights
from t2i_api.status import AttemptStatus, InitialWeightsStatus, VerdictKind
from t2i_checkpoint.choose import BeginWith, Resume, StartFresh, WeightsSource
from t2i_checkpoint.passed_over import is_lost_progress, passed_over_sentence
from t2i_operator.decide import verdict_status
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.progress import percentage
from t2i_operator.decide.reasons import ConditionReason, EventReason


def begin(draft: Draft, choice: Resume | StartFresh | BeginWith, number: int) -> None:
    """Decide the attempt: its children are created by a later decision that finds it in the persisted status."""
    resumed = choice.judgement if isinstance(choice, Resume) else None
    weights = initial_weights(draft, choice) if isinstance(choice, BeginWith) else None
    draft.update(
        attempt=AttemptStatus(
            number=number,
            resume_from=resumed.name if resumed else None,
            resumed_from_step=resumed.step if resumed else None,
            initial_weights=weights,
            started_at=draft.now,
        )
    )
    _rewind(draft, resumed.step if resumed else 0)
    _compatible(draft, choice, number)
    sentence = f"attempt {number}: {beginning(choice)}"
    draft.condition(ConditionType.ADMITTED, "True", ConditionReason.ADMITTED, sentence)
    draft.state(State.RESTARTING if number > 1 else State.STARTING, sentence)
    if is_lost_progress(choice.skipped):
        sentence = passed_over_sentence(choice.skipped, newer=not isinstance(choice, StartFresh))
        draft.event(EventReason.CHECKPOINTS_PASSED_OVER, sentence, warning=True)
    if isinstance(choice, BeginWith):
        draft.event(EventReason.INITIAL_WEIGHTS, choice.message, warning=choice.source is WeightsSource.PREFIX)
    draft.event(EventReason.ATTEMPT_STARTED, sentence)
    draft.look_again(timedelta(0))


def _rewind(draft: Draft, step: int) -> None:
    """Show the step that the attempt begins at while it loads, not the one at which the last attempt ended."""
    old = draft.status.progress
    if old is not None:
        share = percentage(step, draft.observed.job.spec.training.steps)
        draft.update(progress=old.model_copy(update={"step": step, "percentage": share, "eta": ""}))


def beginning(choice: Resume | StartFresh | BeginWith) -> str:
    """Return in a few words what the attempt begins with."""
    match choice:
        case Resume():
            renamed = choice.judgement.verdict.kind is VerdictKind.RENAMED
            names = ", converting its names" if renamed else ""
            return (
                f"resuming exactly at step {choice.judgement.step} ({choice.judgement.name}){names}{_skipped(choice)}"
            )
        case BeginWith():
            return f"{choice.message}{_skipped(choice)}"
        case StartFresh():
            return f"starting at step 0{_skipped(choice)}"


def initial_weights(draft: Draft, choice: BeginWith) -> InitialWeightsStatus:
    """Return what the trainer is told, and what a later operator creates the same pods from."""
    spec = draft.observed.job.spec
    own = InitialWeights(uri=spec.checkpoint.uri)
    named = spec.model.initial_weights if choice.source is WeightsSource.INITIAL_WEIGHTS else None
    place = named or own
    secret = place.credentials_secret_ref
    return InitialWeightsStatus(
        uri=place.uri,
        endpoint=place.endpoint or spec.checkpoint.endpoint,
        region=place.region or spec.checkpoint.region,
        credentials_secret=secret.name if secret else None,
        folder=choice.judgement.folder[:1024],
        verdict=choice.judgement.verdict.kind,
        allow_partial=choice.allow_partial,
        fresh=len(choice.judgement.verdict.fresh),
    )


def _skipped(choice: Resume | StartFresh | BeginWith) -> str:
    sentence = passed_over_sentence(choice.skipped, newer=not isinstance(choice, StartFresh))
    return f"; {sentence}" if sentence else ""


def _compatible(draft: Draft, choice: Resume | StartFresh | BeginWith, number: int) -> None:
    reason, message = CheckpointReason.NO_CHECKPOINT, "nothing to resume: training starts at step 0"
    if isinstance(choice, Resume):
        renamed = choice.judgement.verdict.kind is VerdictKind.RENAMED
        reason = CheckpointReason.RENAMED if renamed else CheckpointReason.IDENTICAL
        message = f"{choice.judgement.verdict.explanation}{_skipped(choice)}"
    elif isinstance(choice, BeginWith):
        reason, message = CheckpointReason.INITIAL_WEIGHTS, choice.message
    elif verdict_status.unfit_is_shown(draft, number) and _archive_is_done(draft):
        reason = CheckpointReason.ARCHIVED
        location = draft.status.archive.location if draft.status.archive else ""
        message = f"what did not fit lies in {location}; training starts at step 0"
    draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, "True", reason, message)


def _archive_is_done(draft: Draft) -> bool:
    """Whether the archive that the status shows was committed: one that was given up holds nothing to point to."""
    return draft.status.archive is not None and draft.status.archive.completed_at is not None
