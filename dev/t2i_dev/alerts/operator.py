"""Alerts about the operator, and about what Prometheus no longer sees."""

from typing import Final

from t2i_api.conditions import State
from t2i_api.metrics import operator
from t2i_api.metrics.labels import Outcome
from t2i_dev.alerts.alert import JOB, OPERATOR_SCOPE, Alert, Severity, Threshold, in_state
from t2i_dev.promql import BY_JOB, ON_JOB

# What Prometheus says of every target; trainers are known by the labels that the scrape configuration gives them.
_UP: Final = 'up{job_namespace!="", job_name!=""}'
# Everyday outcomes: somebody else wrote first; the process was told to stop.
_HARMLESS: Final = (Outcome.OK, Outcome.CONFLICT, Outcome.CANCELLED)
_ERRORS: Final = f'{operator.RECONCILES.name}{{outcome!~"{"|".join(_HARMLESS)}", {OPERATOR_SCOPE}}}'

OPERATOR_DOWN: Final = Alert(
    name="T2IOperatorDown",
    # No sample is 1: no target, a target that does not answer, or replicas none of which leads.
    expression=f"absent({operator.LEADER.name}{{{OPERATOR_SCOPE}}} == 1)",
    lasting="5m",
    severity=Severity.CRITICAL,
    summary="no t2i-operator leads",
    description="Nobody looks after training jobs: running pods train on, but nothing starts, restarts, archives or "
    "reports.",
    about_job=False,
)
RECONCILE_ERRORS: Final = Alert(
    name="T2IReconcileErrors",
    # One job that always fails is tried once a minute.
    expression=f"""\
60 * sum (rate({_ERRORS}[10m]))
  > $threshold""",
    threshold=Threshold(value=0.5, meaning="failed reconciles a minute"),
    lasting="15m",
    severity=Severity.WARNING,
    summary="t2i-operator fails {{ $value | humanize }} reconciles a minute",
    description="At least one job is not looked after. The operator's log names it.",
    about_job=False,
)
OPERATOR_STUCK: Final = Alert(
    name="T2IOperatorStuck",
    expression=f"""\
(
  time() - min ({operator.QUEUE_OLDEST.name}{{{OPERATOR_SCOPE}}})
    > $threshold
)
or (
  time() - min ({operator.WORKING_OLDEST.name}{{{OPERATOR_SCOPE}}})
    > $threshold
)""",
    threshold=Threshold(value=120, meaning="seconds that a job waits for a reconcile, or that one goes on"),
    lasting="5m",
    severity=Severity.CRITICAL,
    summary="t2i-operator leaves a job waiting for {{ $value | humanizeDuration }}",
    description="Workers hang or are too few: a reconcile usually takes less than a second.",
    about_job=False,
)
TARGET_DOWN: Final = Alert(
    name="T2ITargetDown",
    # Also where Prometheus was never told to scrape the pods: then there is no `up` to be 0.
    expression=f"""\
({in_state(State.TRAINING)} unless {ON_JOB} max {BY_JOB} ({_UP} == 1))
or
({in_state(State.TRAINING)} and {ON_JOB} max {BY_JOB} ({_UP} == 0))""",
    lasting="10m",
    severity=Severity.WARNING,
    summary=f"{JOB} trains, but Prometheus does not see all of its pods",
    description="Loss, speed and most alerts of this job are blind. Training itself goes on.",
)

ALERTS: Final = (OPERATOR_DOWN, RECONCILE_ERRORS, OPERATOR_STUCK, TARGET_DOWN)
