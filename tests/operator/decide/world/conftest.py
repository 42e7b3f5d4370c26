"""A small world around `decide`: bucket, cluster, clock and an operator's memory that a kill wipes out.

No fake of Kubernetes or S3: it only answers what a decision's actions lead to, so that decisions can be driven through
any order of answers, losses and kills. `reconcile` applies a plan as `reconcile.py` does: status, actions, events.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.progress import Progress
from t2i_api.status import JobStatus
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
from t2i_operator.plan import Action, CreateAttempt, DeleteAttempt, DeleteJob, Event, Plan, StartArchive, StartPreflight

ObservedOf = Callable[..., Observed]
SurveyOf = Callable[[Iterable[tuple[V, int]]], Survey]
TARGET, PODS = 100, 2
UNFIT = {V.FOREIGN, V.PARTIAL}


@dataclass
class World:
    """Everything outside of `decide`."""

    observed_of: ObservedOf
    survey_of: SurveyOf
    now: datetime
    began: datetime
    changes: dict[str, Any] = field(default_factory=dict)
    bucket: dict[int, V] = field(default_factory=dict)
    elsewhere: dict[int, V] = field(default_factory=dict)  # what lies at model.initialWeights.uri
    failed_action: FailedAction | None = None
    archived: dict[int, V] = field(default_factory=dict)
    status: JobStatus | None = None
    attempts: dict[int, AttemptFacts] = field(default_factory=dict)
    preflight: PreflightFacts | None = None
    archive: ArchiveFacts | None = None
    last_archive: ArchiveFacts | None = None
    intent: frozenset[int] = frozenset()
    intent_recorded: bool = False
    progress: Progress | None = None
    watched_since: datetime | None = None
    step: int = 0
    store_down: bool = False
    events: list[Event] = field(default_factory=list)
    created: list[CreateAttempt] = field(default_factory=list)
    deleted: bool = False

    # What the operator does.

    def observe(self) -> Observed:
        """Look at everything."""
        return self.observed_of(
            self.status,
            after=(self.now - self.began).total_seconds(),
            changes=self.changes,
            attempts=tuple(self.attempts[number] for number in sorted(self.attempts)),
            preflight=self.preflight,
            archive=self.archive,
            progress=self.progress,
            failed_action=self.failed_action,
            watched_since=self.watched_since or self.now,
        )

    def reconcile(self, *, killed_after: int | None = None) -> Plan:
        """Decide and carry it out; killed after that many of its steps, the process forgets everything."""
        self.watched_since = self.watched_since or self.now
        plan = decide(self.observe())
        persisted = self.status
        steps: list[Callable[[], None]] = [lambda: self._write(plan)]
        steps += [self._later(action, persisted) for action in plan.actions]
        steps += [lambda: self.events.extend(plan.events)]
        for step in steps[:killed_after]:
            step()
        if killed_after is not None:
            self.forget()
        return plan

    def forget(self) -> None:
        """Lose what a process keeps in memory; what it had recorded in the bucket stays."""
        self.preflight = self.archive = self.progress = self.watched_since = None

    def _write(self, plan: Plan) -> None:
        if plan.status is not None:
            self.status = JobStatus.model_validate(plan.status.to_wire())

    def _later(self, action: Action, persisted: JobStatus | None) -> Callable[[], None]:
        return lambda: self._act(action, persisted)

    def _act(self, action: Action, persisted: JobStatus | None) -> None:
        match action:
            case StartPreflight():
                if self.preflight is None or not self.preflight.running:
                    self.preflight = PreflightFacts(attempt=action.attempt, running=True)
            case StartArchive():
                self._start_archive(action)
            case CreateAttempt():
                self._create(action, persisted)
            case DeleteAttempt():
                if action.attempt in self.attempts:
                    self.attempts[action.attempt] = replace(self.attempts[action.attempt], job_deleting=True)
            case DeleteJob():
                self.deleted = True

    def _start_archive(self, action: StartArchive) -> None:
        assert {judgement.verdict.kind for judgement in action.judgements} <= UNFIT
        assert self.status is not None
        assert self.status.checkpoint is not None, "an archive before its verdict is persisted"
        assert self.status.checkpoint.verdict in UNFIT
        if self.archive is None or not self.archive.running:
            self.intent = frozenset(judgement.step for judgement in action.judgements)
            self.intent_recorded = False
            self.archive = ArchiveFacts(attempt=action.attempt, running=True, location="archive/T-custom-unet")

    def _create(self, action: CreateAttempt, persisted: JobStatus | None) -> None:
        assert persisted is not None, "children before any status"
        assert persisted.attempt is not None, "children before the attempt's number is persisted"
        assert persisted.attempt.number == action.attempt
        assert persisted.attempt.resume_from == action.resume_from
        assert persisted.attempt.initial_weights == action.initial_weights
        assert persisted.checkpoint is not None, "children before the verdict is persisted"
        assert persisted.checkpoint.judged_for_attempt == action.attempt
        assert not self.alive(), "two attempts at once"
        pods = tuple(
            PodFacts(name=f"p{index}", attempt=action.attempt, index=index, phase=PodPhase.PENDING)
            for index in range(PODS)
        )
        self.attempts[action.attempt] = AttemptFacts(number=action.attempt, job_exists=True, pods=pods)
        self.created.append(action)
        self.step = int(action.resume_from.split("-")[1]) if action.resume_from else 0

    # What the world does.

    def alive(self) -> list[int]:
        """Return the attempts that have a pod which is not over."""
        return [facts.number for facts in self.attempts.values() if any(not pod.over for pod in facts.pods)]

    def finish_preflight(self) -> None:
        """Answer the preflight that runs: finish what was begun, then survey."""
        running = self.preflight
        if running is None or not running.running:
            return
        if self.store_down:
            error = StorageError(kind=StorageErrorKind.UNAVAILABLE, message="no answer")
            self.preflight = PreflightFacts(attempt=running.attempt, error=error, finished_at=self.now)
            return
        if self.intent_recorded:
            self._move(running.attempt)
        survey = self.survey_of((kind, step) for step, kind in self.bucket.items())
        weights = self.survey_of((kind, step) for step, kind in self.elsewhere.items())
        self.preflight = PreflightFacts(
            attempt=running.attempt,
            survey=survey,
            initial_weights=weights if "spec.model.initialWeights" in self.changes else None,
            finished_at=self.now,
            last_archive=self.last_archive,
        )

    def record_intent(self) -> None:
        """The archive that runs writes its intent: from here on any process can finish it."""
        if self.archive is not None and self.archive.running:
            self.intent_recorded = True

    def finish_archive(self) -> None:
        """The archive that runs is done."""
        if self.archive is not None and self.archive.running:
            self._move(self.archive.attempt)
            self.archive = self.last_archive

    def fail_archive(self) -> None:
        """The archive that runs fails, where it is."""
        if self.archive is not None and self.archive.running:
            error = StorageError(kind=StorageErrorKind.ARCHIVE_FAILED, message="it failed")
            self.archive = replace(self.archive, running=False, error=error, finished_at=self.now)

    def _move(self, attempt: int) -> None:
        moved = {step: self.bucket.pop(step) for step in sorted(self.intent) if step in self.bucket}
        assert set(moved.values()) <= UNFIT
        self.archived |= moved
        self.intent, self.intent_recorded = frozenset(), False
        self.last_archive = ArchiveFacts(
            attempt=attempt, done=True, location="archive/T-custom-unet", checkpoints=len(moved), finished_at=self.now
        )

    def start_pods(self) -> None:
        """Every pod that waits runs."""
        for number, facts in self.attempts.items():
            if not facts.job_deleting and not facts.failed:
                pods = tuple(pod if pod.over else replace(pod, phase=PodPhase.RUNNING) for pod in facts.pods)
                self.attempts[number] = replace(facts, pods=pods)

    def train(self) -> None:
        """Ten steps and a checkpoint, or the end."""
        for number, facts in self.attempts.items():
            if not facts.all_running or facts.job_deleting:
                continue
            self.step = min(TARGET, self.step + 10)
            self.bucket[self.step] = V.IDENTICAL
            self.progress = Progress(
                attempt=number, world_size=PODS, step=self.step, target_steps=TARGET, loss=0.5, updated_at=self.now
            )
            if self.step == TARGET:
                pods = tuple(replace(pod, phase=PodPhase.SUCCEEDED, exit_code=0) for pod in facts.pods)
                self.attempts[number] = replace(facts, pods=pods, succeeded=True)

    def end_pods(self, first: int, second: int = 27, *, disrupted: bool = False) -> None:
        """Pod 0 ends with one exit status, pod 1 with another, and Kubernetes fails the Job."""
        for number, facts in self.attempts.items():
            if facts.all_running:
                zero, one = facts.pods
                pods = (
                    replace(zero, phase=PodPhase.FAILED, exit_code=first, disrupted=disrupted),
                    replace(one, phase=PodPhase.FAILED, exit_code=second),
                )
                self.attempts[number] = replace(facts, pods=pods, failed=True)

    def collect_garbage(self) -> None:
        """What is being deleted is gone."""
        self.attempts = {number: facts for number, facts in self.attempts.items() if not facts.job_deleting}

    def job_goes_first(self) -> None:
        """A Job that is being deleted is gone while its pods still have their grace (background propagation)."""
        for number, facts in self.attempts.items():
            if facts.job_deleting:
                self.attempts[number] = replace(facts, job_exists=False)

    def delete_the_job_by_hand(self) -> None:
        """Somebody deletes every `batch/v1` Job."""
        self.attempts = {number: replace(facts, job_deleting=True) for number, facts in self.attempts.items()}

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def until(self, *states: State, rounds: int = 120) -> State:
        """Let everybody do what they should until the job is in one of these states."""
        for _ in range(rounds):
            self.reconcile()
            if self.state in states:
                return self.state
            for happens in (self.finish_preflight, self.finish_archive, self.collect_garbage, self.start_pods):
                happens()
            self.reconcile()
            if self.state in states:
                return self.state
            self.train()
            self.wait(10)
        raise AssertionError(f"still {self.state}: {self.status and self.status.message}")

    def condition(self, type_: str) -> tuple[str, str]:
        """Its status and reason."""
        found = self.status.condition(type_) if self.status else None
        assert found is not None
        return found.status, found.reason

    @property
    def state(self) -> State:
        """The STATE column."""
        condition = self.status.condition("Succeeded") if self.status else None
        return State(condition.reason) if condition else State.PENDING

    @property
    def said(self) -> list[str]:
        """Reasons of all events so far."""
        return [event.reason for event in self.events]


@pytest.fixture(scope="session")
def new_world(observed_of: ObservedOf, survey_of: SurveyOf, t0: datetime) -> Callable[..., World]:
    """Begin a world, with changes to the job and checkpoints in the bucket."""

    def build(changes: dict[str, Any] | None = None, bucket: dict[int, V] | None = None) -> World:
        return World(observed_of, survey_of, t0, t0, dict(changes or {}), dict(bucket or {}))

    return build
