"""Alerts about the operator and lost targets: each in a story in which it fires, and in twins in which it must not.

Series hold one sample a minute; `0+6x60` is promtool's notation for 0, 6, 12 … and sixty more samples.
"""

from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.metrics import job, operator
from t2i_dev.alerts.alert import Alert
from t2i_dev.alerts.operator import ALERTS
from t2i_dev.promql import select

JOB = {"job_namespace": "team", "job_name": "emoji"}
TARGET = {"namespace": "t2i-system", "pod": "t2i-operator-7d9f-abcde"}
REPLICA = {"namespace": "t2i-system", "pod": "t2i-operator-7d9f-fghij"}

LEADS = select(operator.LEADER, **TARGET)
REPLICA_LEADS = select(operator.LEADER, **REPLICA)
SUCCEEDED = select(operator.RECONCILES, **TARGET, outcome="ok")
FAILED = select(operator.RECONCILES, **TARGET, outcome="error")
CONFLICTED = select(operator.RECONCILES, **TARGET, outcome="conflict")
WAITS_SINCE = select(operator.QUEUE_OLDEST, **TARGET)
WORKS_SINCE = select(operator.WORKING_OLDEST, **TARGET)
TRAINING = select(job.CONDITION_NOW, **JOB, condition="Succeeded", status="Unknown", reason=State.TRAINING)
QUEUED = select(job.CONDITION_NOW, **JOB, condition="Succeeded", status="Unknown", reason=State.QUEUED)

NOBODY_LEADS = "no t2i-operator leads"
BLIND = "team/emoji trains, but Prometheus does not see all of its pods"


def up(index: int) -> str:
    return f'up{{job_namespace="team", job_name="emoji", pod="emoji-1-{index}-x7k2p"}}'


FIRES: dict[str, dict[str, tuple[dict[str, str], str, str]]] = {
    "T2IOperatorDown": {
        "its target is gone": ({LEADS: "1x9 stale"}, "16m", NOBODY_LEADS),
        "never scraped": ({}, "6m", NOBODY_LEADS),
        "two replicas, none leads": ({LEADS: "0x60", REPLICA_LEADS: "0x60"}, "20m", NOBODY_LEADS),
    },
    "T2IReconcileErrors": {
        "one job of many fails once a minute": (
            {SUCCEEDED: "0+600x60", FAILED: "0+1x60"},
            "30m",
            "t2i-operator fails 1 reconciles a minute",
        ),
    },
    "T2IOperatorStuck": {
        "a job waits since minute 5": (
            {WAITS_SINCE: "_x5 300x60", SUCCEEDED: "0x60"},
            "15m",
            "t2i-operator leaves a job waiting for 10m 0s",
        ),
        "a reconcile hangs since minute 5": (
            {WORKS_SINCE: "_x5 300x60", SUCCEEDED: "0+60x60"},
            "15m",
            "t2i-operator leaves a job waiting for 10m 0s",
        ),
    },
    "T2ITargetDown": {
        "one of two pods": ({TRAINING: "1x60", up(0): "1x60", up(1): "1x9 0x60"}, "25m", BLIND),
        "Prometheus was never told": ({TRAINING: "1x60"}, "11m", BLIND),
    },
}

QUIET: dict[str, dict[str, tuple[dict[str, str], str]]] = {
    "T2IOperatorDown": {
        "it leads": ({LEADS: "1x60"}, "40m"),
        "another replica took over within a minute": (
            {LEADS: "1x20 0x40", REPLICA_LEADS: "0x21 1x40"},
            "40m",
        ),
    },
    "T2IReconcileErrors": {
        "none": ({SUCCEEDED: "0+600x60", FAILED: "0x60"}, "30m"),
        "a bad quarter of an hour": ({SUCCEEDED: "0+600x60", FAILED: "0x10 0+1x5 6x60"}, "30m"),
        "others write first": ({SUCCEEDED: "0+600x60", CONFLICTED: "0+60x60"}, "30m"),
    },
    "T2IOperatorStuck": {
        "nothing waits": ({SUCCEEDED: "0+6x60"}, "30m"),
        "every job waits half a minute": ({WAITS_SINCE: "-30+60x60", WORKS_SINCE: "0+60x60"}, "30m"),
        "busy after a start, then done": ({WAITS_SINCE: "0x5 stale", SUCCEEDED: "0+600x60"}, "10m"),
    },
    "T2ITargetDown": {
        "both pods": ({TRAINING: "1x60", up(0): "1x60", up(1): "1x60"}, "40m"),
        "one starts slowly": ({TRAINING: "1x60", up(0): "1x60", up(1): "0x8 1x60"}, "40m"),
        "no pods yet": ({QUEUED: "1x60"}, "40m"),
    },
}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_fires_and_stays_quiet(behaves: Any, alert: Alert) -> None:
    behaves(alert, FIRES[alert.name], QUIET[alert.name])
