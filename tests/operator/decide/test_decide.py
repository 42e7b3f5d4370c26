"""`decide` is total: whatever is observed, in any combination, there is a plan whose status can be stored."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_api.conditions import ConditionType, State
from t2i_api.progress import ExitCode, Progress, TerminationMessage
from t2i_api.status import (
    AttemptStatus,
    CheckpointStatus,
    Condition,
    JobStatus,
    RestartRecord,
    RestartStatus,
)
from t2i_api.status import VerdictKind as V
from t2i_checkpoint.inspect import Survey
from t2i_operator.decide import decide
from t2i_operator.observed import (
    ArchiveFacts,
    AttemptFacts,
    FailedAction,
    Observed,
    PodFacts,
    PodPhase,
    PreflightFacts,
    StorageError,
    StorageErrorKind,
)
from t2i_operator.plan import CreateAttempt, StartArchive

SurveyOf = Callable[[Iterable[tuple[V, int]]], Survey]

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TIMES = st.integers(-100_000, 100_000).map(lambda seconds: NOW + timedelta(seconds=seconds))
NUMBERS = st.integers(1, 4)


def made(model: Callable[..., Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Like `st.builds`, which would fill in required fields a second time by their aliases."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


TEXTS = st.sampled_from(["", "word", "x" * 9000])

PROGRESS = made(
    Progress, attempt=NUMBERS, world_size=NUMBERS, step=st.integers(0, 10**9), target_steps=st.integers(1, 10**9),
    loss=st.none() | st.floats(allow_nan=False, allow_infinity=False), eta_seconds=st.none() | st.floats(0, 1e300),
    updated_at=TIMES,
)  # fmt: skip
WORDS = made(
    TerminationMessage, exit_code=st.sampled_from(ExitCode), reason=st.just("Reason"),
    message=st.sampled_from(["", "why", "x" * 2000]), progress=st.none() | PROGRESS,
)  # fmt: skip
PODS = st.builds(
    PodFacts, name=st.just("pod"), attempt=NUMBERS, index=st.integers(0, 2), phase=st.sampled_from(PodPhase),
    deleting=st.booleans(), disrupted=st.booleans(), exit_code=st.none() | st.integers(-1, 260),
    out_of_memory=st.booleans(), waiting_reason=TEXTS, unschedulable_message=TEXTS, termination=st.none() | WORDS,
)  # fmt: skip
ATTEMPTS = st.lists(
    st.builds(
        AttemptFacts, number=NUMBERS, job_exists=st.booleans(), job_deleting=st.booleans(), job_suspended=st.booleans(),
        succeeded=st.booleans(), failed=st.booleans(), failure_message=TEXTS,
        pods=st.lists(PODS, max_size=3).map(tuple), parallelism=st.none() | NUMBERS,
    ),
    max_size=3, unique_by=lambda facts: facts.number,
).map(tuple)  # fmt: skip
ERRORS = st.builds(StorageError, kind=st.sampled_from(StorageErrorKind), message=TEXTS)
ARCHIVES = st.builds(
    ArchiveFacts, attempt=NUMBERS, running=st.booleans(), location=st.sampled_from(["", "archive/T-x"]),
    done=st.booleans(), error=st.none() | ERRORS, finished_at=st.none() | TIMES, warning=TEXTS,
    method=st.sampled_from(["", "Move", "Reference"]), bytes_total=st.integers(0, 10**15),
    bytes_done=st.integers(0, 10**15), bytes_per_second=st.none() | st.floats(0, 1e12),
    eta_seconds=st.none() | st.floats(0, 1e300),
)  # fmt: skip
FAILED = st.builds(
    FailedAction, action=st.sampled_from(["CreateAttempt", "DeleteAttempt", "StartPreflight"]), message=TEXTS
)
CONDITIONS = st.lists(
    made(
    Condition, type=st.sampled_from(ConditionType), status=st.sampled_from(["True", "False", "Unknown"]),
        reason=st.sampled_from(State), last_transition_time=TIMES,
    ),
    max_size=5, unique_by=lambda condition: condition.type,
)  # fmt: skip
RECORDS = made(RestartRecord, attempt=NUMBERS, cause=st.just("Crashed"), at=TIMES, counted=st.booleans())
STATUSES = made(
    JobStatus,
    conditions=CONDITIONS,
    checkpoint=st.none() | made(CheckpointStatus, judged_for_attempt=NUMBERS, judged_at=st.none() | TIMES),
    attempt=st.none()
    | made(AttemptStatus, number=NUMBERS, running_since=st.none() | TIMES, finished_at=st.none() | TIMES),
    restarts=made(RestartStatus, recent=st.lists(RECORDS, max_size=64)),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "spec.suspend": st.booleans(),
        "spec.checkpoint.onIncompatible": st.sampled_from(["Archive", "Fail", "WarmStart"]),
        "spec.checkpoint.archive": st.sampled_from([{"method": "Reference"}, {"label": "x"}]),
        "spec.model.initialWeights": st.just({"uri": "s3://t2i/other"}),
        "spec.failurePolicy.deadlineSeconds": st.integers(60, 10**6),
        "spec.failurePolicy.maxRestarts": st.integers(0, 60),
        "spec.ttlSecondsAfterFinished": st.integers(0, 10**6),
    },
)
FOUND = st.lists(st.sampled_from(V), max_size=4).map(lambda kinds: [(kind, step) for step, kind in enumerate(kinds)])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_observed_there_is_a_plan(
    observed_of: Callable[..., Observed], survey_of: SurveyOf, data: st.DataObject
) -> None:
    surveys = st.none() | FOUND.map(survey_of)
    preflights = st.builds(
        PreflightFacts, attempt=NUMBERS, running=st.booleans(), survey=surveys, initial_weights=surveys,
        error=st.none() | ERRORS,
        finished_at=st.none() | TIMES, last_archive=st.none() | ARCHIVES,
    )  # fmt: skip
    status = data.draw(st.none() | STATUSES)
    observed = observed_of(
        status,
        changes=data.draw(CHANGES),
        attempts=data.draw(ATTEMPTS),
        preflight=data.draw(st.none() | preflights),
        archive=data.draw(st.none() | ARCHIVES),
        progress=data.draw(st.none() | PROGRESS),
        invalid_spec=data.draw(TEXTS),
        failed_action=data.draw(st.none() | FAILED),
        watched_since=data.draw(st.none() | TIMES),
    )
    plan = decide(observed)
    assert plan.status is not None
    assert JobStatus.model_validate(plan.status.to_wire()) == plan.status
    assert plan.requeue_after is None or plan.requeue_after >= timedelta(0)
    for action in plan.actions:
        if isinstance(action, CreateAttempt):
            assert status is not None
            assert status.attempt is not None
            assert (status.attempt.number, status.attempt.finished_at) == (action.attempt, None)
        if isinstance(action, StartArchive):
            assert action.judgements
            assert {judgement.verdict.kind for judgement in action.judgements} <= {V.FOREIGN, V.PARTIAL}
