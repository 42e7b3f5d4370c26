"""Alerts about checkpoints: each in a story in which it fires, and in twins of that story in which it must not.

Series hold one sample a minute; `0+6x60` is promtool's notation for 0, 6, 12 … and sixty more samples.
"""

from typing import Any

import pytest

from t2i_api.conditions import CheckpointReason, State
from t2i_api.metrics import job, trainer
from t2i_dev.alerts.alert import Alert
from t2i_dev.alerts.checkpoints import ALERTS
from t2i_dev.promql import select

JOB = {"job_namespace": "team", "job_name": "emoji"}
POD = {"namespace": "team", "pod": "emoji-1-0-x7k2p"}

SAVED_AT = select(job.CHECKPOINT_TIMESTAMP, **JOB)
RUNNING_SINCE = select(job.RUNNING_SINCE, **JOB)
TRAINING = select(job.CONDITION_NOW, **JOB, condition="Succeeded", status="Unknown", reason=State.TRAINING)
SUSPENDED = select(job.CONDITION_NOW, **JOB, condition="Succeeded", status="Unknown", reason=State.SUSPENDED)
FAILED_SAVES = select(trainer.CHECKPOINT_FAILURES, **JOB, **POD)
STORAGE_RESTARTS = select(job.RESTARTS, **JOB, cause="StorageUnavailable")
KILLED = select(job.RESTARTS, **JOB, cause="PodKilled")


def compatible(status: str, reason: str) -> str:
    return select(job.CONDITION_NOW, **JOB, condition="CheckpointCompatible", status=status, reason=reason)


ARCHIVING = compatible("False", CheckpointReason.ARCHIVING)
ARCHIVED = compatible("True", CheckpointReason.ARCHIVED)
ARCHIVE_FAILED = compatible("Unknown", CheckpointReason.ARCHIVE_FAILED)
IDENTICAL = compatible("True", CheckpointReason.IDENTICAL)
NOT_RESUMABLE = compatible("False", CheckpointReason.NOT_RESUMABLE)

AT_RISK = "team/emoji: a kill now would cost 2h 10m 0s of training"
CANNOT_SAVE = "team/emoji cannot save its checkpoints"
DOES_NOT_FIT = "team/emoji: the checkpoints in its prefix do not fit its model"

FIRES: dict[str, dict[str, tuple[dict[str, str], str, str]]] = {
    "T2ICheckpointTooOld": {
        # promtool's clock begins at 0: a timestamp is the seconds since the first sample.
        "the last one at minute 10": (
            {TRAINING: "1x200", RUNNING_SINCE: "0x200", SAVED_AT: "_x9 600x190"},
            "2h20m",
            AT_RISK,
        ),
        "never one": ({TRAINING: "1x200", RUNNING_SINCE: "600x200"}, "2h20m", AT_RISK),
    },
    "T2ISaveFailing": {
        "the trainer counted it": ({FAILED_SAVES: "0x10 1 stale", TRAINING: "1x60"}, "20m", CANNOT_SAVE),
        "the trainer's last words were not scraped": ({STORAGE_RESTARTS: "_x9 1x60"}, "20m", CANNOT_SAVE),
        "again, after one of yesterday": ({STORAGE_RESTARTS: "1x90 2x60"}, "1h40m", CANNOT_SAVE),
    },
    "T2IArchiveFailing": {
        "one try after the other": (
            {ARCHIVE_FAILED: "1x2 stale _x3 1x2 stale _x3 1x2 stale _x3 1x9", ARCHIVING: "_x2 1x2 stale"},
            "20m",
            "team/emoji cannot archive the checkpoints that do not fit, and does not start",
        ),
    },
    "T2IIncompatibleCheckpoint": {
        "archived between two scrapes": ({IDENTICAL: "1x9 stale", ARCHIVED: "_x10 1x90"}, "15m", DOES_NOT_FIT),
        "the job stops": ({NOT_RESUMABLE: "1x200"}, "3h", DOES_NOT_FIT),
    },
}

QUIET: dict[str, dict[str, tuple[dict[str, str], str]]] = {
    "T2ICheckpointTooOld": {
        "one an hour": (
            {TRAINING: "1x300", RUNNING_SINCE: "0x300", SAVED_AT: "0x59 3600x59 7200x59 10800x59"},
            "3h50m",
        ),
        "goes on after a night of suspension": (
            {SUSPENDED: "1x200 stale", TRAINING: "_x201 1x60", RUNNING_SINCE: "0x200 12060x60", SAVED_AT: "0x260"},
            "4h",
        ),
        "suspended": ({SUSPENDED: "1x300", RUNNING_SINCE: "0x300", SAVED_AT: "0x300"}, "5h"),
    },
    "T2ISaveFailing": {
        "none failed": ({FAILED_SAVES: "0x60", TRAINING: "1x60"}, "20m"),
        "killed, which is not storage": ({KILLED: "_x9 1x60", FAILED_SAVES: "0x60"}, "20m"),
        "one of yesterday": ({STORAGE_RESTARTS: "1x200"}, "3h"),
    },
    "T2IArchiveFailing": {
        "one failure, then done": (
            {ARCHIVE_FAILED: "1x2 stale", ARCHIVING: "_x2 1x5 stale", ARCHIVED: "_x8 1x60"},
            "40m",
        ),
        "a long archive": ({ARCHIVING: "1x60"}, "50m"),
    },
    "T2IIncompatibleCheckpoint": {
        "identical": ({IDENTICAL: "1x60"}, "30m"),
        "archived two hours ago": ({ARCHIVED: "_x10 1x200"}, "2h10m"),
        "storage does not answer, so nobody knows": ({compatible("Unknown", "StorageUnavailable"): "1x60"}, "30m"),
    },
}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_fires_and_stays_quiet(behaves: Any, alert: Alert) -> None:
    behaves(alert, FIRES[alert.name], QUIET[alert.name])
