"""Which colour a name has, the same on every panel of every dashboard."""

from t2i_api.conditions import State
from t2i_api.findings import Severity
from t2i_api.progress import TrainerPhase
from t2i_api.status import VerdictKind

_WAITING = (State.PENDING, State.JUDGING_CHECKPOINT, State.STARTING, State.QUEUED)
_CHANGING = (State.ARCHIVING, State.RESTARTING, State.SUSPENDING)
_FAILED = (
    State.RESTARTS_EXHAUSTED,
    State.DEADLINE_EXCEEDED,
    State.BAD_CONFIGURATION,
    State.INCOMPATIBLE_CHECKPOINT,
    State.OUT_OF_MEMORY,
    State.DATA_INVALID,
    State.NON_FINITE_LOSS,
    State.WORLD_SIZE_MISMATCH,
)
STATES: dict[str, str] = {
    **dict.fromkeys(_WAITING, "yellow"),
    **dict.fromkeys(_CHANGING, "purple"),
    State.TRAINING: "blue",
    State.SUSPENDED: "text",
    State.BLOCKED: "orange",
    State.COMPLETED: "green",
    **dict.fromkeys(_FAILED, "red"),
}
PHASES: dict[str, str] = {
    TrainerPhase.STARTING: "yellow",
    TrainerPhase.TRAINING: "blue",
    TrainerPhase.SAVING: "purple",
    TrainerPhase.SAMPLING: "orange",
    TrainerPhase.FINISHED: "green",
}
VERDICTS: dict[str, str] = {
    VerdictKind.IDENTICAL: "green",
    VerdictKind.RENAMED: "green",
    VerdictKind.PARTIAL: "yellow",
    VerdictKind.ADAPTER: "blue",
    VerdictKind.INFERENCE_ONLY: "blue",
    VerdictKind.FOREIGN: "orange",
    VerdictKind.INCOMPLETE: "yellow",
    VerdictKind.UNREADABLE: "red",
}
SEVERITIES: dict[str, str] = {Severity.WARNING: "orange", Severity.ERROR: "red"}
CHECKPOINT, RESTART, ARCHIVE, NON_FINITE, OPERATOR = "blue", "yellow", "purple", "red", "text"
