"""What the operator exports of every job, computed from the job's object at each scrape.

It outlives the pods and the operator, and vanishes with the object. Scrape the operator with `honorLabels: true`: these
series speak of jobs in other namespaces than the operator's. Of several values that exclude each other only the one
that holds has a series, which is 1.
"""

from typing import Final

from t2i_api.metrics.definition import Label, Unit, gauge
from t2i_api.metrics.labels import CAUSE, CONDITION, JOB, JOB_FINDING, REASON, SEVERITY, STATUS, VERDICT

_ONE_A_JOB: Final = "one value a job"

INFO: Final = gauge(
    "t2i_job_info",
    Unit.YES_NO,
    "1; where the job writes and what it trains. Pictures lie in samples/ below checkpoint_uri.",
    *JOB,
    *(Label(name=name, bound=_ONE_A_JOB) for name in ("checkpoint_uri", "unet")),
)
CREATED: Final = gauge("t2i_job_created_timestamp_seconds", Unit.TIMESTAMP, "When the job was created.", *JOB)
GPUS: Final = gauge("t2i_job_gpus", Unit.COUNT, "GPUs that the job asks for.", *JOB)
CONDITION_NOW: Final = gauge(
    "t2i_job_condition",
    Unit.YES_NO,
    "1 for the status and reason that a condition has; the reason of Succeeded is the state of the job.",
    *JOB,
    CONDITION,
    STATUS,
    REASON,
)
ATTEMPT: Final = gauge("t2i_job_attempt", Unit.COUNT, "Number of the newest attempt; 0 before the first.", *JOB)
ATTEMPT_STARTED: Final = gauge(
    "t2i_job_attempt_started_timestamp_seconds", Unit.TIMESTAMP, "When the newest attempt was decided.", *JOB
)
RUNNING_SINCE: Final = gauge(
    "t2i_job_running_since_timestamp_seconds",
    Unit.TIMESTAMP,
    "Since when all pods of the newest attempt run or ran; no sample before.",
    *JOB,
)
RESTARTS: Final = gauge(
    "t2i_job_restarts",
    Unit.COUNT,
    "Restarts by cause; those beyond the 64 newest are Earlier.",
    *JOB,
    CAUSE,
)
VERDICT_NOW: Final = gauge(
    "t2i_job_checkpoint_verdict",
    Unit.YES_NO,
    "1 for the verdict of the last preflight; no sample where no checkpoint was found.",
    *JOB,
    VERDICT,
)
ARCHIVE_BYTES: Final = gauge("t2i_job_archive_bytes", Unit.BYTES, "Bytes of the last archive.", *JOB)
ARCHIVED_BYTES: Final = gauge(
    "t2i_job_archived_bytes", Unit.BYTES, "Bytes of the last archive that are copied so far.", *JOB
)
ARCHIVE_OBJECTS: Final = gauge("t2i_job_archive_objects", Unit.COUNT, "Objects of the last archive.", *JOB)
ARCHIVE_TIMESTAMP: Final = gauge(
    "t2i_job_archive_timestamp_seconds",
    Unit.TIMESTAMP,
    "When the last archive was committed and its source deleted; no sample before.",
    *JOB,
)
STEP: Final = gauge("t2i_job_step", Unit.STEPS, "Last known step.", *JOB)
TARGET_STEPS: Final = gauge("t2i_job_target_steps", Unit.STEPS, "Optimizer steps that the job asks for.", *JOB)
PROGRESS: Final = gauge("t2i_job_progress_ratio", Unit.RATIO, "Share of the steps that are done.", *JOB)
ADVANCED: Final = gauge(
    "t2i_job_step_timestamp_seconds", Unit.TIMESTAMP, "When the operator saw the step counter move last.", *JOB
)
LAST_LOSS: Final = gauge("t2i_job_last_loss", Unit.NONE, "Last known finite loss; outlives the pods.", *JOB)
LAST_LOSS_SMOOTHED: Final = gauge(
    "t2i_job_last_loss_smoothed", Unit.NONE, "Last known smoothed loss; outlives the pods.", *JOB
)
LAST_IMAGES_PER_SECOND: Final = gauge(
    "t2i_job_last_images_per_second",
    Unit.IMAGES_PER_SECOND,
    "Last known throughput of the whole job; outlives the pods.",
    *JOB,
)
CHECKPOINT_STEP: Final = gauge(
    "t2i_job_checkpoint_step", Unit.STEPS, "Step of the last committed checkpoint; no sample before the first.", *JOB
)
CHECKPOINT_TIMESTAMP: Final = gauge(
    "t2i_job_checkpoint_timestamp_seconds",
    Unit.TIMESTAMP,
    "When the last checkpoint was committed; no sample before the first.",
    *JOB,
)
FINDING: Final = gauge(
    "t2i_job_finding",
    Unit.YES_NO,
    "1 for everything that the run noticed about itself; outlives the pods.",
    *JOB,
    JOB_FINDING,
    SEVERITY,
)

JOB_METRICS: Final = (
    INFO,
    CREATED,
    GPUS,
    CONDITION_NOW,
    ATTEMPT,
    ATTEMPT_STARTED,
    RUNNING_SINCE,
    RESTARTS,
    VERDICT_NOW,
    ARCHIVE_BYTES,
    ARCHIVED_BYTES,
    ARCHIVE_OBJECTS,
    ARCHIVE_TIMESTAMP,
    STEP,
    TARGET_STEPS,
    PROGRESS,
    ADVANCED,
    LAST_LOSS,
    LAST_LOSS_SMOOTHED,
    LAST_IMAGES_PER_SECOND,
    CHECKPOINT_STEP,
    CHECKPOINT_TIMESTAMP,
    FINDING,
)
