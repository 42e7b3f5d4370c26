"""What an alert is: a PromQL expression with at most one number that users may change, and the words around it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from t2i_api.conditions import ConditionType
from t2i_api.metrics import job
from t2i_dev.promql import BY_JOB, select

RUNBOOKS: Final = "https://github.com/t2i-operator/t2i-operator/blob/main/docs/runbooks"
THRESHOLD: Final = "$threshold"
# Marks the number for the chart, which puts the user's in its place: a PromQL comment, so the file stays a rule file.
THRESHOLD_MARK: Final = "# threshold"
# Any operator; the chart puts the release's own namespace in its place.
OPERATOR_SCOPE: Final = 'namespace=~".*"'
# Opens the summary of every alert about a job.
JOB: Final = "{{ $labels.job_namespace }}/{{ $labels.job_name }}"


class Severity(StrEnum):
    """How soon somebody should look."""

    CRITICAL = "critical"  # now: GPUs are paid for nothing, or nobody looks after jobs
    WARNING = "warning"  # today


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The number that decides, and what it counts."""

    value: float
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert.

    `expression` holds `$threshold` at the end of a line where the threshold's value belongs; `lasting` is how long it
    must hold before the alert fires, as Prometheus writes durations; `summary` is a template over the alert's labels,
    `description` is none.
    """

    name: str
    expression: str
    threshold: Threshold | None = None
    lasting: str
    severity: Severity
    summary: str
    description: str
    about_job: bool = True

    def __post_init__(self) -> None:
        """A threshold that the expression does not use, or the other way round, is a mistake."""
        places = [line for line in self.expression.splitlines() if THRESHOLD in line]
        if bool(places) != (self.threshold is not None) or not all(line.endswith(THRESHOLD) for line in places):
            raise ValueError(
                f"{self.name}: {THRESHOLD} stands at the end of a line, exactly where there is a threshold"
            )


def in_state(*states: str) -> str:
    """Return the PromQL of the jobs in one of these states: 1 a job."""
    reason = states[0] if len(states) == 1 else states
    selected = select(job.CONDITION_NOW, condition=ConditionType.SUCCEEDED, reason=reason)
    return f"max {BY_JOB} ({selected})"
