"""Before an attempt: older children gone, back-off over, bucket surveyed, verdict persisted; nothing asks for a GPU.

The plan that decides an attempt only writes its number and the verdict into the status; its children are created by a
later decision that reads them there (`running.py`).
"""

from datetime import timedelta

from t2i_api.conditions import CheckpointReason, ConditionType, State
from t2i_api.job import JobSpec
from t2i_api.status import ConditionStatus
from t2i_checkpoint.choose import Archive, BeginWith, Resume, StartFresh, Stop, choose
from t2i_checkpoint.inspect import Survey
from t2i_operator.decide import restart, verdict_status
from t2i_operator.decide.archiving import archive
from t2i_operator.decide.beginning import begin
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.finished import finish
from t2i_operator.observed import PreflightFacts, StorageError, StorageErrorKind
from t2i_operator.plan import DeleteAttempt, StartPreflight

_POLL = timedelta(seconds=1)
# A bucket may still be created and an endpoint corrected; the model cannot change.
_TERMINAL = {StorageErrorKind.UNSUPPORTED_MODEL}
_REASONS = {
    StorageErrorKind.ACCESS_DENIED: CheckpointReason.ACCESS_DENIED,
    StorageErrorKind.CREDENTIALS_MISSING: CheckpointReason.CREDENTIALS_MISSING,
    StorageErrorKind.NOT_ALLOWED: CheckpointReason.STORAGE_NOT_ALLOWED,
    StorageErrorKind.ARCHIVE_FAILED: CheckpointReason.ARCHIVE_FAILED,
    StorageErrorKind.SOURCE_CHANGED: CheckpointReason.ARCHIVE_FAILED,
}
_KNOWN_NOT_TO_FIT = {CheckpointReason.NOT_RESUMABLE, CheckpointReason.INITIAL_WEIGHTS_UNUSABLE}
_NO_LATENTS = (
    "model.vae: this version judges checkpoints of latent-space models but cannot train them yet. Remove model.vae to "
    "train on pixels, or use t2i checkpoint verdict for the verdict alone"
)


def prepare(draft: Draft) -> None:
    """Move one step towards the next attempt."""
    last = draft.status.attempt
    number = (last.number if last else 0) + 1
    if _older_children_remain(draft, number) or _backing_off(draft):
        return
    facts = draft.observed.preflight
    if facts is None or facts.attempt != number:
        _ask_for_preflight(draft, number)
    elif facts.running:
        _wait_for_preflight(draft)
    elif facts.error is not None:
        blocked(draft, facts.error, facts, number)
    elif facts.survey is not None:
        _act_on(draft, facts, facts.survey, number)
    else:
        _ask_for_preflight(draft, number)


def _older_children_remain(draft: Draft, number: int) -> bool:
    remaining: list[str] = []
    for facts in draft.observed.attempts:
        if facts.number >= number:
            continue
        if facts.job_exists and not facts.job_deleting:
            draft.actions.append(DeleteAttempt(attempt=facts.number))
        remaining += [f"pod {pod.name}" for pod in facts.pods if not pod.over]
        remaining += [f"the Job of attempt {facts.number}"] if facts.job_exists else []
    if remaining:
        message = f"waiting until {remaining[0]} is gone: two attempts never run at once"
        draft.condition(ConditionType.RUNNING, "False", State.RESTARTING, message)
        draft.state(State.RESTARTING, message)
        draft.look_again(_POLL)
    return bool(remaining)


def _backing_off(draft: Draft) -> bool:
    last = draft.status.attempt
    if last is None or last.finished_at is None or last.outcome == State.SUSPENDED:
        return False
    left = last.finished_at + restart.delay(draft.status.restarts, last.finished_at) - draft.now
    if left <= timedelta(0):
        return False
    draft.look_again(left)
    return True


def _ask_for_preflight(draft: Draft, number: int) -> None:
    draft.actions.append(StartPreflight(attempt=number))
    _wait_for_preflight(draft)


def _wait_for_preflight(draft: Draft) -> None:
    message = "reading the metadata of the checkpoints in the bucket"
    draft.condition(ConditionType.ADMITTED, "False", CheckpointReason.JUDGING, message)
    if draft.status.condition(ConditionType.CHECKPOINT_COMPATIBLE) is None:
        draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, "Unknown", CheckpointReason.JUDGING, message)
    current = draft.status.condition(ConditionType.SUCCEEDED)
    if current is None or current.reason not in {State.RESTARTING, State.BLOCKED}:
        draft.state(State.JUDGING_CHECKPOINT, message)
    draft.look_again(timedelta(seconds=5))


def blocked(draft: Draft, error: StorageError, facts: PreflightFacts, number: int) -> None:
    """The bucket could not be read or written: say why, touch nothing, look again later."""
    if error.kind in _TERMINAL:
        finish(draft, State.BAD_CONFIGURATION, error.message)
        return
    reason = _REASONS.get(error.kind, CheckpointReason.STORAGE_UNAVAILABLE)
    stop(draft, reason, error.message)
    _look_again_later(draft, facts, number)


def stop(draft: Draft, reason: CheckpointReason, message: str) -> None:
    """Start nothing, and tell the user once what to do."""
    old = draft.status.condition(ConditionType.CHECKPOINT_COMPATIBLE)
    if old is None or old.reason != reason or old.message != message:
        draft.event(reason, message, warning=True)
    known: ConditionStatus = "False" if reason in _KNOWN_NOT_TO_FIT else "Unknown"
    draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, known, reason, message)
    draft.condition(ConditionType.ADMITTED, "False", reason, message)
    draft.state(State.BLOCKED, message)


def _look_again_later(draft: Draft, facts: PreflightFacts, number: int) -> None:
    looked = facts.finished_at or draft.now
    admitted = draft.status.condition(ConditionType.ADMITTED)
    due = looked + restart.pause_between_looks(admitted.last_transition_time if admitted else None, looked)
    if draft.now >= due:
        draft.actions.append(StartPreflight(attempt=number))
        draft.look_again(_POLL)
    else:
        draft.look_again(due - draft.now)


def _act_on(draft: Draft, facts: PreflightFacts, survey: Survey, number: int) -> None:
    spec = draft.observed.job.spec
    choice = choose(survey, spec.checkpoint.on_incompatible, _initial_weights(spec, facts))
    goes_on = isinstance(choice, Resume | StartFresh | BeginWith)
    if goes_on:
        verdict_status.settle_archive(draft, facts, number)
    # The verdict that led to an archive stays readable: what the archive left behind is not news.
    if not (isinstance(choice, StartFresh) and verdict_status.unfit_is_shown(draft, number)):
        verdict_status.show(draft, facts, survey, choice, number)
    if spec.model.vae is not None:
        # The verdict is given, but nothing is put away for a training that cannot be.
        finish(draft, State.BAD_CONFIGURATION, _NO_LATENTS)
    elif isinstance(choice, Stop):
        _stopped(draft, facts, choice, number)
    elif isinstance(choice, Archive):
        archive(draft, facts, choice, number)
    else:
        begin(draft, choice, number)


def _initial_weights(spec: JobSpec, facts: PreflightFacts) -> Survey | None:
    """Return what lies at `model.initialWeights.uri`; an empty survey while it was not looked at."""
    if spec.model.initial_weights is None:
        return None
    return facts.initial_weights or Survey((), 0, 0, 0.0)


def _stopped(draft: Draft, facts: PreflightFacts, choice: Stop, number: int) -> None:
    if choice.terminal:
        draft.condition(ConditionType.CHECKPOINT_COMPATIBLE, "False", choice.reason, choice.message)
        finish(draft, State.INCOMPATIBLE_CHECKPOINT, choice.message)
        return
    stop(draft, choice.reason, choice.message)
    _look_again_later(draft, facts, number)
