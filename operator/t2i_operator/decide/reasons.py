"""Words that people write alerts and scripts against: reasons of conditions and events, causes of an attempt's end.

Together with the constants of `t2i_api.conditions` and the exit codes' own names these are all there are.
"""

from enum import StrEnum


class ConditionReason(StrEnum):
    """Reasons of Admitted, Running and Suspended besides the states of the job."""

    ADMITTED = "Admitted"
    NOT_SUSPENDED = "NotSuspended"
    PODS_ENDING = "PodsEnding"


class EventReason(StrEnum):
    """Events besides those named like the condition that changed."""

    CHECKPOINT_JUDGED = "CheckpointJudged"
    CHECKPOINTS_PASSED_OVER = "CheckpointsPassedOver"
    INITIAL_WEIGHTS = "InitialWeights"
    ATTEMPT_STARTED = "AttemptStarted"
    ATTEMPT_ENDED = "AttemptEnded"
    FINDING = "Finding"
    NOT_AS_EXPECTED = "NotAsExpected"
    AS_EXPECTED_AGAIN = "AsExpectedAgain"
    STATUS_UNREADABLE = "StatusUnreadable"
    STATUS_REFUSED = "StatusRefused"
    OPERATOR_TOO_OLD = "OperatorTooOld"
    STORE_NOT_SAFE = "StoreNotSafe"


class Cause(StrEnum):
    """Why an attempt ended, where no exit code of the trainer says it."""

    DISRUPTED = "Disrupted"
    POD_LOST = "PodLost"
    POD_KILLED = "PodKilled"
    POD_TERMINATED = "PodTerminated"
    OUT_OF_MEMORY = "OutOfMemory"
    CRASHED = "Crashed"
    STALLED = "Stalled"
    JOB_DELETED = "JobDeleted"
