"""Alerts about checkpoints: work that a kill would cost, and what does not fit or cannot be put away."""

from typing import Final

from t2i_api.conditions import CheckpointReason, ConditionType, State
from t2i_api.metrics import job, trainer
from t2i_api.progress import ExitCode, reason_of
from t2i_dev.alerts.alert import JOB, Alert, Severity, Threshold, in_state
from t2i_dev.promql import BY_JOB, ON_JOB, select

_COMPATIBLE: Final = ConditionType.CHECKPOINT_COMPATIBLE
_UNFIT: Final = select(job.CONDITION_NOW, condition=_COMPATIBLE, status="False")
_ARCHIVED: Final = select(job.CONDITION_NOW, condition=_COMPATIBLE, reason=CheckpointReason.ARCHIVED)
_ARCHIVE_FAILED: Final = select(job.CONDITION_NOW, condition=_COMPATIBLE, reason=CheckpointReason.ARCHIVE_FAILED)
_STORAGE_RESTARTS: Final = select(job.RESTARTS, cause=reason_of(ExitCode.STORAGE_UNAVAILABLE))

CHECKPOINT_TOO_OLD: Final = Alert(
    name="T2ICheckpointTooOld",
    # The later of checkpoint and start: what was lost already, or slept through a suspension, is not at risk.
    expression=f"""\
time() - max {BY_JOB} ({{__name__=~"{job.CHECKPOINT_TIMESTAMP.name}|{job.RUNNING_SINCE.name}"}})
  > $threshold
and {ON_JOB} {in_state(State.TRAINING)}""",
    threshold=Threshold(value=7200, meaning="seconds of work that a kill would cost"),
    lasting="5m",
    severity=Severity.WARNING,
    summary=f"{JOB}: a kill now would cost {{{{ $value | humanizeDuration }}}} of training",
    description="The last committed checkpoint is that old, or there is none since the attempt runs. Lower "
    "checkpoint.everySteps, or find out why no save is committed.",
)
SAVE_FAILING: Final = Alert(
    name="T2ISaveFailing",
    # The trainer counts a failed save and ends; where its last words were not scraped, the operator's cause tells.
    expression=f"""\
(
  sum {BY_JOB} (increase({select(trainer.CHECKPOINT_FAILURES)}[1h]))
    > $threshold
)
or (
  max {BY_JOB} ({_STORAGE_RESTARTS})
  - (max {BY_JOB} ({_STORAGE_RESTARTS} offset 1h) or 0 * max {BY_JOB} ({_STORAGE_RESTARTS}))
    > $threshold
)""",
    threshold=Threshold(value=0, meaning="failed saves, or restarts because of storage, in an hour"),
    lasting="0m",
    severity=Severity.CRITICAL,
    summary=f"{JOB} cannot save its checkpoints",
    description="A save failed and the attempt ended with it; the last committed checkpoint is intact. Until storage "
    "works, every attempt loses what it trains.",
)
ARCHIVE_FAILING: Final = Alert(
    name="T2IArchiveFailing",
    # Each try shows other reasons in between: the window bridges them, and lets one failure that was mended pass.
    expression=f"max {BY_JOB} (max_over_time({_ARCHIVE_FAILED}[10m]))",
    lasting="15m",
    severity=Severity.WARNING,
    summary=f"{JOB} cannot archive the checkpoints that do not fit, and does not start",
    description="The operator tries again and again. Nothing is lost: every object lies whole at its source or in the "
    "archive. The job starts when the archive is done.",
)
INCOMPATIBLE_CHECKPOINT: Final = Alert(
    name="T2IIncompatibleCheckpoint",
    # An archive can be over before the next scrape; what it leaves is news for an hour.
    expression=f"""\
max {BY_JOB} ({_UNFIT})
or (
  max {BY_JOB} ({_ARCHIVED})
  unless max {BY_JOB} ({_ARCHIVED} offset 1h)
)""",
    lasting="0m",
    severity=Severity.WARNING,
    summary=f"{JOB}: the checkpoints in its prefix do not fit its model",
    description="The verdict in the job's status says which parameters differ. They are archived and training "
    "starts at step 0, or the job stops, as checkpoint.onIncompatible says.",
)

ALERTS: Final = (CHECKPOINT_TOO_OLD, SAVE_FAILING, ARCHIVE_FAILING, INCOMPATIBLE_CHECKPOINT)
