"""Condition types and the reasons they carry: constants, because people write alerts and scripts against them.

`Succeeded` is the summary (True done, False failed, Unknown still going) and its reason is the STATE column of
`kubectl get dtj`. See the Kubernetes API conventions, "Typical status properties".
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """The map keys of `status.conditions`."""

    CHECKPOINT_COMPATIBLE = "CheckpointCompatible"
    ADMITTED = "Admitted"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    AS_EXPECTED = "AsExpected"


class State(StrEnum):
    """Reasons of the Succeeded condition: what the job is doing, or how it ended."""

    PENDING = "Pending"
    JUDGING_CHECKPOINT = "JudgingCheckpoint"
    ARCHIVING = "Archiving"
    STARTING = "Starting"
    QUEUED = "Queued"
    TRAINING = "Training"
    RESTARTING = "Restarting"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    BLOCKED = "Blocked"
    COMPLETED = "Completed"
    RESTARTS_EXHAUSTED = "RestartsExhausted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    BAD_CONFIGURATION = "BadConfiguration"
    INCOMPATIBLE_CHECKPOINT = "IncompatibleCheckpoint"
    OUT_OF_MEMORY = "OutOfMemory"
    DATA_INVALID = "DataInvalid"
    NON_FINITE_LOSS = "NonFiniteLoss"
    WORLD_SIZE_MISMATCH = "WorldSizeMismatch"


class ExpectationReason(StrEnum):
    """Reasons of the AsExpected condition, beside the names of findings."""

    WITHIN_EXPECTATIONS = "WithinExpectations"
    OUTSIDE_EXPECTATIONS = "OutsideExpectations"
    NO_BAND_DUE = "NoBandDue"


class CheckpointReason(StrEnum):
    """Reasons of the CheckpointCompatible condition."""

    NOT_JUDGED = "NotJudged"
    JUDGING = "Judging"
    NO_CHECKPOINT = "NoCheckpoint"
    IDENTICAL = "Identical"
    RENAMED = "Renamed"
    INITIAL_WEIGHTS = "InitialWeights"
    ARCHIVING = "Archiving"
    ARCHIVED = "Archived"
    FOREIGN = "Foreign"
    PARTIAL = "Partial"
    INITIAL_WEIGHTS_UNUSABLE = "InitialWeightsUnusable"
    NOT_RESUMABLE = "NotResumable"
    UNREADABLE = "Unreadable"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    ACCESS_DENIED = "AccessDenied"
    CREDENTIALS_MISSING = "CredentialsMissing"
    STORAGE_NOT_ALLOWED = "StorageNotAllowed"
    ARCHIVE_FAILED = "ArchiveFailed"
