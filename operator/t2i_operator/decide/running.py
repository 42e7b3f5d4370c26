"""An attempt whose number is in the persisted status: create its children, follow them, recognise how they end."""

from datetime import timedelta

from t2i_api.conditions import ConditionType, State
from t2i_api.progress import ExitCode, reason_of
from t2i_api.status import AttemptStatus
from t2i_operator.decide import restart
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.ending import Ending, classify
from t2i_operator.decide.finished import complete, finish
from t2i_operator.decide.newer import not_begun, unknown_beginning
from t2i_operator.decide.progress import last_report, readable
from t2i_operator.decide.reasons import Cause, ConditionReason, EventReason
from t2i_operator.decide.report import show_report
from t2i_operator.observed import AttemptFacts, PodPhase
from t2i_operator.plan import CreateAttempt, DeleteAttempt

_POLL = timedelta(seconds=2)
_INCOMPATIBLE = reason_of(ExitCode.INCOMPATIBLE_WEIGHTS)


def run(draft: Draft, attempt: AttemptStatus) -> None:
    """Move one step along the attempt's life."""
    facts = draft.observed.attempt(attempt.number)
    if facts is None or not facts.job_exists:
        if attempt.running_since is not None or (facts is not None and facts.pods):
            # Created anew, it would share its name and its pods' names with what is left of it.
            _end(draft, attempt, Ending(Cause.JOB_DELETED, f"the Job of attempt {attempt.number} was deleted"))
        elif unknown := unknown_beginning(attempt):
            not_begun(draft, unknown)
        else:
            draft.actions.append(
                CreateAttempt(
                    attempt=attempt.number,
                    resume_from=attempt.resume_from,
                    initial_weights=attempt.initial_weights,
                )
            )
            draft.look_again(_POLL)
        return
    _report(draft, attempt, facts)
    if facts.succeeded:
        _complete(draft)
    elif facts.failed or facts.job_deleting:
        _end(draft, attempt, classify(facts))
    elif facts.job_suspended:
        _queued(draft)
    else:
        _admitted(draft, attempt)
        _follow(draft, attempt, facts)
    draft.look_again(_POLL)


def _report(draft: Draft, attempt: AttemptStatus, facts: AttemptFacts) -> None:
    report = last_report(facts, draft.observed.progress)
    if report is not None:
        show_report(draft, attempt, report)


def _complete(draft: Draft) -> None:
    progress = draft.status.progress
    steps = draft.observed.job.spec.training.steps
    if progress is not None and progress.step == steps:
        draft.update(progress=progress.model_copy(update={"eta": "", "percentage": "100%"}))
    complete(draft, f"trained {steps} steps; the model and its samples lie in {draft.observed.job.spec.checkpoint.uri}")


def completed(draft: Draft) -> AttemptStatus | None:
    """Return the newest attempt if all its pods succeeded, even if it was ended for another reason meanwhile."""
    attempt = draft.status.attempt
    facts = draft.observed.attempt(attempt.number) if attempt is not None else None
    return attempt if facts is not None and facts.job_exists and facts.succeeded else None


def _queued(draft: Draft) -> None:
    message = "waiting for quota in the queue"
    draft.condition(ConditionType.ADMITTED, "False", State.QUEUED, message)
    draft.condition(ConditionType.RUNNING, "False", State.QUEUED, message)
    draft.state(State.QUEUED, message)


def _admitted(draft: Draft, attempt: AttemptStatus) -> None:
    condition = draft.status.condition(ConditionType.ADMITTED)
    if condition is None or condition.status != "True":
        draft.condition(
            ConditionType.ADMITTED, "True", ConditionReason.ADMITTED, f"attempt {attempt.number} left the queue"
        )


def _follow(draft: Draft, attempt: AttemptStatus, facts: AttemptFacts) -> None:
    wanted = facts.parallelism or draft.observed.job.spec.workers.count
    if facts.all_running and len(facts.pods) >= wanted:
        _training(draft, attempt)
    elif attempt.running_since is None:
        _starting(draft, facts)
    else:
        running = sum(pod.phase is PodPhase.RUNNING for pod in facts.pods)
        message = (
            f"{running} of {wanted} pods of attempt {attempt.number} run: waiting for Kubernetes to end the attempt"
        )
        draft.condition(ConditionType.RUNNING, "False", ConditionReason.PODS_ENDING, message)
        _watch_for_stall(draft, attempt)


def _training(draft: Draft, attempt: AttemptStatus) -> None:
    if attempt.running_since is None:
        attempt = attempt.model_copy(update={"running_since": draft.now})
        draft.update(attempt=attempt)
    draft.condition(ConditionType.RUNNING, "True", State.TRAINING, f"all pods of attempt {attempt.number} run")
    begin = "step 0" if attempt.resumed_from_step is None else f"step {attempt.resumed_from_step}"
    if attempt.initial_weights is not None:
        begin += f" with the weights of {attempt.initial_weights.folder or attempt.initial_weights.uri}"
    draft.state(State.TRAINING, f"attempt {attempt.number} trains since {begin}")
    _watch_for_stall(draft, attempt)


def _watch_for_stall(draft: Draft, attempt: AttemptStatus) -> None:
    """End an attempt whose step counter stands still; one that a new operator has just begun to watch gets its time."""
    advanced = draft.status.progress.advanced_at if draft.status.progress else None
    since = (attempt.running_since, advanced, draft.observed.created_at, draft.observed.watched_since)
    moved = max(moment for moment in since if moment is not None)
    limit = timedelta(seconds=draft.observed.job.spec.failure_policy.stall_seconds)
    if draft.now - moved > limit:
        _end(
            draft,
            attempt,
            Ending(Cause.STALLED, f"no new step for {readable(limit.total_seconds())} while all pods run"),
        )


def _starting(draft: Draft, facts: AttemptFacts) -> None:
    waiting = next((pod for pod in facts.pods if pod.unschedulable_message), None)
    stuck = next((pod for pod in facts.pods if pod.waiting_reason not in {"", "ContainerCreating"}), None)
    if waiting is not None:
        message = f"pod {waiting.name} cannot be scheduled: {waiting.unschedulable_message}"
    elif stuck is not None:
        message = f"pod {stuck.name} does not start: {stuck.waiting_reason}"
    else:
        message = f"attempt {facts.number}: {len(facts.pods)} pod(s) are starting"
    draft.condition(ConditionType.RUNNING, "False", State.STARTING, message)
    draft.state(State.STARTING if facts.number == 1 else State.RESTARTING, message)


def _end(draft: Draft, attempt: AttemptStatus, ending: Ending) -> None:
    policy = draft.observed.job.spec.failure_policy
    if ending.final is not None:
        finish(draft, ending.final, ending.message)
        return
    if ending.cause == _INCOMPATIBLE and _again(draft, attempt, ending):
        finish(
            draft,
            State.INCOMPATIBLE_CHECKPOINT,
            f"{ending.message}. Twice in a row, though its headers fit: move {attempt.began_with or 'it'} elsewhere "
            "and create the job anew to resume at an older checkpoint; if it is not damaged, report this with the "
            "trainer's log",
        )
        return
    if ending.counted and restart.exhausted(draft.status.restarts, policy, draft.now):
        finish(
            draft,
            State.RESTARTS_EXHAUSTED,
            f"{ending.message}; failurePolicy.maxRestarts ({policy.max_restarts}) is used up. Look at the pods' logs, "
            "mend the cause, and create the job anew: it resumes at the last checkpoint",
        )
        return
    draft.update(
        attempt=attempt.model_copy(update={"finished_at": draft.now, "outcome": str(ending.cause)[:64]}),
        restarts=restart.record(draft.status.restarts, ending, attempt, draft.now),
    )
    message = f"attempt {attempt.number} ended: {ending.message}"
    draft.condition(ConditionType.RUNNING, "False", State.RESTARTING, message)
    draft.state(State.RESTARTING, message)
    draft.event(EventReason.ATTEMPT_ENDED, message, warning=True)
    draft.actions.append(DeleteAttempt(attempt=attempt.number))
    draft.look_again(timedelta(0))


def _again(draft: Draft, attempt: AttemptStatus, ending: Ending) -> bool:
    """Whether the last attempt that ended by itself could not load this very checkpoint either.

    A damaged checkpoint is marked by whoever notices, so that the next attempt begins with an older one: that is
    another try, not the same again.
    """
    last = next((record for record in reversed(draft.status.restarts.recent) if record.counted), None)
    return last is not None and last.cause == ending.cause and last.began_with == attempt.began_with
