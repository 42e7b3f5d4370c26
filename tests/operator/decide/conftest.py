"""Facts as the operator would observe them, each made in one line."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import ExitCode, Progress, TerminationMessage
from t2i_api.status import JobStatus, VerdictKind
from t2i_checkpoint.discovery import CheckpointFormat
from t2i_checkpoint.inspect import Judgement, Survey
from t2i_checkpoint.verdict import Reason, Verdict
from t2i_operator.observed import AttemptFacts, Observed, PodFacts, PodPhase, PreflightFacts

JobWith = Callable[..., DiffusionTrainingJob]

T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


_REASONS = {
    VerdictKind.RENAMED: Reason.NAMES_CONVERTIBLE,
    VerdictKind.INFERENCE_ONLY: Reason.WEIGHTS_WITHOUT_RESUME_STATE,
}


def _judgement(kind: VerdictKind, step: int, reason: str = "") -> Judgement:
    own = kind in {VerdictKind.IDENTICAL, VerdictKind.INCOMPLETE}
    name = f"step-{step:08d}-w1" if own else f"checkpoint-{step}"
    missing = ("conv_in.weight",) if kind in {VerdictKind.FOREIGN, VerdictKind.PARTIAL} else ()
    verdict = Verdict(
        kind,
        reason or _REASONS.get(kind, "Reason"),
        f"because {kind}",
        missing=missing,
        label="custom-unet",
        stored_model="home-made UNet",
        fresh=missing if kind is VerdictKind.PARTIAL else (),
        exact_resume=kind is VerdictKind.IDENTICAL,
    )
    folder = f"checkpoints/{name}" if own else name
    return Judgement(name, folder, step, next(iter(CheckpointFormat)), 1000, (), verdict, "custom-unet", None)


@pytest.fixture(scope="session")
def t0() -> datetime:
    """Noon of the day on which all these jobs were created."""
    return T0


@pytest.fixture(scope="session")
def survey_of() -> Callable[[Iterable[tuple[Any, ...]]], Survey]:
    """Build a survey from (verdict, step) or (verdict, step, reason), newest first."""

    def build(found: Iterable[tuple[Any, ...]]) -> Survey:
        judgements = sorted((_judgement(*item) for item in found), key=lambda item: -item.step)
        return Survey(tuple(judgements), bytes_read=1234, requests=3, seconds=0.1)

    return build


@pytest.fixture(scope="session")
def observed_of(job_with: JobWith) -> Callable[..., Observed]:
    """Build what is observed `after` seconds from noon."""

    def build(
        status: JobStatus | None = None, *, after: float = 60, changes: dict[str, Any] | None = None, **facts: Any
    ) -> Observed:
        job = job_with(changes).model_copy(update={"status": status})
        return Observed(job=job, now=T0 + timedelta(seconds=after), created_at=T0, **facts)

    return build


@pytest.fixture(scope="session")
def surveyed() -> Callable[..., PreflightFacts]:
    """Build a finished preflight."""

    def build(survey: Survey, attempt: int = 1, after: float = 30, **facts: Any) -> PreflightFacts:
        return PreflightFacts(attempt=attempt, survey=survey, finished_at=T0 + timedelta(seconds=after), **facts)

    return build


@pytest.fixture(scope="session")
def pod() -> Callable[..., PodFacts]:
    """Build a pod of an attempt; one with an exit status is over."""

    def build(index: int = 0, attempt: int = 1, **facts: Any) -> PodFacts:
        code = facts.get("exit_code")
        ended = PodPhase.SUCCEEDED if code == 0 else PodPhase.FAILED
        facts.setdefault("phase", PodPhase.RUNNING if code is None else ended)
        return PodFacts(name=f"emoji-{attempt}-{index}-x", attempt=attempt, index=index, **facts)

    return build


@pytest.fixture(scope="session")
def running_attempt(pod: Callable[..., PodFacts]) -> Callable[..., AttemptFacts]:
    """Build an attempt with two running pods, or with the pods given."""

    def build(number: int = 1, **facts: Any) -> AttemptFacts:
        facts.setdefault("pods", (pod(0, number), pod(1, number)))
        return AttemptFacts(number=number, job_exists=facts.pop("job_exists", True), **facts)

    return build


@pytest.fixture(scope="session")
def progress_at() -> Callable[..., Progress]:
    """Build rank 0's report at a step."""

    def build(step: int, attempt: int = 1, **fields: Any) -> Progress:
        fields = {"loss": 0.5, "loss_smoothed": 0.51, **fields}
        return Progress(attempt=attempt, world_size=2, step=step, target_steps=100, updated_at=T0, **fields)

    return build


@pytest.fixture(scope="session")
def last_words() -> Callable[..., TerminationMessage]:
    """Build a termination message."""

    def build(code: ExitCode, message: str = "it said why", progress: Progress | None = None) -> TerminationMessage:
        return TerminationMessage(exit_code=code, reason="Reason", message=message, progress=progress)

    return build
