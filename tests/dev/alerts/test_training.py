"""Alerts about training runs: each in a story in which it fires, and in twins of that story in which it must not.

Series hold one sample a minute; `0+6x60` is promtool's notation for 0, 6, 12 … and sixty more samples.
"""

from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.metrics import job, trainer
from t2i_dev.alerts.alert import Alert
from t2i_dev.alerts.training import ALERTS, GPU_UTILIZATION
from t2i_dev.promql import select

JOB = {"job_namespace": "team", "job_name": "emoji"}
POD = {"namespace": "team", "pod": "emoji-1-0-x7k2p"}
OTHER_POD = {"namespace": "team", "pod": "emoji-2-0-q5m8w"}
# Hours, in samples.
ONE_HOUR, SIX_HOURS = 60, 360

STEP_AT = select(job.ADVANCED, **JOB)
ATTEMPT = select(job.ATTEMPT, **JOB, pod="operator-a")
BAD_STEPS = select(trainer.NON_FINITE, **JOB, **POD)
SMOOTHED = select(trainer.LOSS_SMOOTHED, **JOB, **POD)
SMOOTHED_LATER = select(trainer.LOSS_SMOOTHED, **JOB, **OTHER_POD)
WAITED = select(trainer.DATA_WAIT, **JOB, **POD, rank="0")
WAITED_TOO = select(trainer.DATA_WAIT, **JOB, **POD, rank="1")
STEPS = select(trainer.STEP_SECONDS, "_count", **JOB, **POD, rank="0")
BUSY = f'{GPU_UTILIZATION}{{gpu="0", namespace="team", pod="{POD["pod"]}"}}'
BUSY_TOO = f'{GPU_UTILIZATION}{{gpu="1", namespace="team", pod="{POD["pod"]}"}}'
# As dcgm-exporter's series look when Prometheus keeps the names of the exporter's own pod.
BUSY_EXPORTED = (
    f'{GPU_UTILIZATION}{{gpu="0", namespace="gpu-operator", pod="dcgm-exporter-9qzv4", '
    f'exported_namespace="team", exported_pod="{POD["pod"]}"}}'
)


def state(reason: str, status: str = "Unknown") -> str:
    return select(job.CONDITION_NOW, **JOB, condition="Succeeded", status=status, reason=reason)


def as_expected(status: str) -> str:
    return select(job.CONDITION_NOW, **JOB, condition="AsExpected", status=status, reason="OutsideExpectations")


TRAINING = state(State.TRAINING)
FOR_AN_HOUR = f"1x{ONE_HOUR}"

FIRES: dict[str, dict[str, tuple[dict[str, str], str, str]]] = {
    "T2ITrainingStalled": {
        # promtool's clock begins at 0: a timestamp is the seconds since the first sample.
        "no step since the tenth minute": (
            {TRAINING: FOR_AN_HOUR, STEP_AT: f"0+60x10 600x{ONE_HOUR}"},
            "26m",
            "team/emoji runs, but its step counter stands still",
        ),
        "never a step": (
            {TRAINING: FOR_AN_HOUR},
            "11m",
            "team/emoji runs, but its step counter stands still",
        ),
    },
    "T2ILossNotFinite": {
        "two steps are NaN": (
            {BAD_STEPS: f"0x10 2x{ONE_HOUR}", TRAINING: FOR_AN_HOUR},
            "15m",
            "team/emoji meets losses or gradients that are NaN or infinite",
        ),
        "the job failed of it": (
            {BAD_STEPS: "0x10 stale", state(State.NON_FINITE_LOSS, "False"): f"_x10 1x{ONE_HOUR}"},
            "50m",
            "team/emoji meets losses or gradients that are NaN or infinite",
        ),
    },
    "T2ILossDiverging": {
        "twice the lowest": (
            {SMOOTHED: f"0.8-0.01x60 0.2x60 0.4x{ONE_HOUR}"},
            "2h20m",
            "team/emoji: the smoothed loss rose to 2 times its lowest",
        ),
    },
    "T2IExpectationMissed": {
        "outside a band, through a restart": (
            {
                as_expected("False"): FOR_AN_HOUR,
                TRAINING: f"1x9 stale _x5 1x{ONE_HOUR}",
                state(State.RESTARTING): "_x10 1x5 stale",
            },
            "20m",
            "team/emoji does not learn as it should",
        ),
    },
    "T2IRestartLoop": {
        "an attempt every ten minutes": (
            {ATTEMPT: "1x9 2x9 3x9 4x9 5x9"},
            "39m",
            "team/emoji started 3 new attempts within an hour",
        ),
    },
    "T2IPendingTooLong": {
        "judged, then queued": (
            {state(State.JUDGING_CHECKPOINT): "1x2 stale", state(State.QUEUED): f"_x2 1x{ONE_HOUR}"},
            "32m",
            "team/emoji has been waiting for half an hour and does not train",
        ),
        "blocked": (
            {state(State.BLOCKED): FOR_AN_HOUR},
            "31m",
            "team/emoji has been waiting for half an hour and does not train",
        ),
    },
    "T2IDataStarved": {
        "rank 1 waits for 30 of 60 seconds": (
            {WAITED: f"0+1x{ONE_HOUR}", WAITED_TOO: f"0+30x{ONE_HOUR}"},
            "40m",
            "team/emoji waits for its data 50% of the time",
        ),
    },
    "T2IGPUIdle": {
        "both GPUs of a pod": (
            {BUSY: f"2x{ONE_HOUR}", BUSY_TOO: f"4x{ONE_HOUR}", STEPS: f"0+1x{ONE_HOUR}"},
            "30m",
            "team/emoji holds GPUs that are busy 3 % of the time",
        ),
        "a GPU under the exporter's name": (
            {BUSY_EXPORTED: f"1x{ONE_HOUR}", STEPS: f"0+1x{ONE_HOUR}"},
            "30m",
            "team/emoji holds GPUs that are busy 1 % of the time",
        ),
    },
}

QUIET: dict[str, dict[str, tuple[dict[str, str], str]]] = {
    "T2ITrainingStalled": {
        "a step every four minutes": ({TRAINING: FOR_AN_HOUR, STEP_AT: "0x3 240x3 480x3 720x3 960x3 1200x3"}, "24m"),
        "a new attempt loads for nine minutes": (
            {TRAINING: f"1x9 stale _x5 1x9 1x{ONE_HOUR}", STEP_AT: f"540x24 1500+60x{ONE_HOUR}"},
            "40m",
        ),
        "suspended": ({state(State.SUSPENDED): FOR_AN_HOUR, STEP_AT: f"0x{ONE_HOUR}"}, "50m"),
    },
    "T2ILossNotFinite": {
        "none": ({BAD_STEPS: f"0x{ONE_HOUR}", TRAINING: FOR_AN_HOUR}, "30m"),
        "the last one half an hour ago": ({BAD_STEPS: f"0x10 2x{ONE_HOUR}", TRAINING: FOR_AN_HOUR}, "40m"),
        "the job failed of something else": ({state(State.OUT_OF_MEMORY, "False"): FOR_AN_HOUR}, "30m"),
    },
    "T2ILossDiverging": {
        "falling": ({SMOOTHED: f"0.8-0.01x60 0.2x{ONE_HOUR}"}, "2h"),
        "a third above the lowest": ({SMOOTHED: f"0.8-0.01x60 0.2x60 0.27x{ONE_HOUR}"}, "2h30m"),
        "a spike of five minutes": ({SMOOTHED: f"0.2x60 0.4x5 0.2x{ONE_HOUR}"}, "1h8m"),
        "a new job of the same name begins": (
            {SMOOTHED: "0.2x60 stale", SMOOTHED_LATER: f"_x61 0.8x{ONE_HOUR}"},
            "1h40m",
        ),
    },
    "T2IExpectationMissed": {
        "within its band": ({as_expected("True"): FOR_AN_HOUR, TRAINING: FOR_AN_HOUR}, "40m"),
        "outside, but finished": (
            {as_expected("False"): FOR_AN_HOUR, state(State.COMPLETED, "True"): FOR_AN_HOUR},
            "40m",
        ),
        "outside, but suspended": ({as_expected("False"): FOR_AN_HOUR, state(State.SUSPENDED): FOR_AN_HOUR}, "40m"),
    },
    "T2IRestartLoop": {
        "two new attempts": ({ATTEMPT: f"1x9 2x9 3x{ONE_HOUR}"}, "40m"),
        "created anew after seven attempts": ({ATTEMPT: f"7x20 stale _x3 1x{ONE_HOUR}"}, "40m"),
        "another replica of the operator took over": (
            {ATTEMPT: "5x20 stale", ATTEMPT.replace("operator-a", "operator-b"): f"_x20 5x{ONE_HOUR}"},
            "40m",
        ),
    },
    "T2IPendingTooLong": {
        "trains after twenty minutes": ({state(State.QUEUED): "1x20 stale", TRAINING: f"_x20 1x{ONE_HOUR}"}, "50m"),
        "archives a large checkpoint": ({state(State.ARCHIVING): FOR_AN_HOUR}, "50m"),
        "suspended": ({state(State.SUSPENDED): FOR_AN_HOUR}, "50m"),
    },
    "T2IDataStarved": {
        "six of sixty seconds": ({WAITED: f"0+1x{ONE_HOUR}", WAITED_TOO: f"0+6x{ONE_HOUR}"}, "40m"),
        "a slow first epoch": ({WAITED: f"0+30x10 300+1x{ONE_HOUR}"}, "40m"),
    },
    "T2IGPUIdle": {
        "one of two works": (
            {BUSY: f"2x{ONE_HOUR}", BUSY_TOO: f"90x{ONE_HOUR}", STEPS: f"0+1x{ONE_HOUR}"},
            "40m",
        ),
        "idle, but nobody's": (
            {BUSY.replace(POD["pod"], "another"): f"0x{ONE_HOUR}", STEPS: f"0+1x{ONE_HOUR}"},
            "40m",
        ),
    },
}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_fires_and_stays_quiet(behaves: Any, alert: Alert) -> None:
    behaves(alert, FIRES[alert.name], QUIET[alert.name])
