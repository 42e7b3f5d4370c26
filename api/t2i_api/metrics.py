"""Every metric that the trainer and the operator export: the single list that code, docs and dashboards derive from.

Names follow the Prometheus conventions: base units, `_total` for counters, timestamps rather than ages.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class MetricType(StrEnum):
    """Prometheus metric types that we use."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric family."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()


_JOB = ("job_namespace", "job_name")

TRAINER_LOSS: Final = Metric(name="t2i_trainer_loss", type=MetricType.GAUGE, help="Loss of the last global batch.")
TRAINER_LOSS_SMOOTHED: Final = Metric(
    name="t2i_trainer_loss_smoothed", type=MetricType.GAUGE, help="Exponential moving average of the loss."
)
TRAINER_STEP: Final = Metric(name="t2i_trainer_step", type=MetricType.GAUGE, help="Optimizer steps done.")
TRAINER_TARGET_STEPS: Final = Metric(
    name="t2i_trainer_target_steps", type=MetricType.GAUGE, help="Optimizer steps that the job asks for."
)
TRAINER_IMAGES: Final = Metric(
    name="t2i_trainer_images_total", type=MetricType.COUNTER, help="Images trained on by this process group."
)
TRAINER_GRADIENT_NORM: Final = Metric(
    name="t2i_trainer_gradient_norm", type=MetricType.GAUGE, help="Gradient norm before clipping."
)
TRAINER_LEARNING_RATE: Final = Metric(name="t2i_trainer_learning_rate", type=MetricType.GAUGE, help="Learning rate.")
TRAINER_STEP_SECONDS: Final = Metric(
    name="t2i_trainer_step_seconds", type=MetricType.HISTOGRAM, help="Duration of a training step."
)
TRAINER_DATA_WAIT: Final = Metric(
    name="t2i_trainer_data_wait_seconds_total",
    type=MetricType.COUNTER,
    help="Time for which the training loop waited for its next batch.",
)
TRAINER_MFU: Final = Metric(
    name="t2i_trainer_model_flops_utilization_ratio",
    type=MetricType.GAUGE,
    help="Share of the GPU's bfloat16 peak that the last step's arithmetic reached, 0 to 1; NaN where unknown.",
)
TRAINER_GPU_MEMORY: Final = Metric(
    name="t2i_trainer_gpu_memory_peak_bytes",
    type=MetricType.GAUGE,
    help="Most GPU memory that tensors of this process took so far; NaN on CPUs.",
)
TRAINER_NON_FINITE: Final = Metric(
    name="t2i_trainer_non_finite_losses_total", type=MetricType.COUNTER, help="Steps whose loss was not finite."
)
TRAINER_FINDINGS: Final = Metric(
    name="t2i_trainer_findings_total",
    type=MetricType.COUNTER,
    help="What the run noticed about itself, by name (t2i_api.findings).",
    labels=("finding", "severity"),
)
TRAINER_ROLLBACKS: Final = Metric(
    name="t2i_trainer_rollbacks_total",
    type=MetricType.COUNTER,
    help="Times the run went back to a checkpoint after steps that were not finite.",
)
TRAINER_SKIPPED_STEPS: Final = Metric(
    name="t2i_trainer_skipped_steps_total",
    type=MetricType.COUNTER,
    help="Steps that changed nothing: not finite, or a spike.",
)
TRAINER_LOSS_QUARTILE: Final = Metric(
    name="t2i_trainer_loss_by_timestep",
    type=MetricType.GAUGE,
    help="Smoothed loss of the samples whose timestep lies in a quarter of the range; 1 is the least noise.",
    labels=("quartile",),
)
TRAINER_EVALUATION_LOSS: Final = Metric(
    name="t2i_trainer_evaluation_loss",
    type=MetricType.GAUGE,
    help="Loss on the fixed evaluation grid with the right caption, a wrong one or none.",
    labels=("caption",),
)
TRAINER_AS_EXPECTED: Final = Metric(
    name="t2i_trainer_loss_as_expected",
    type=MetricType.GAUGE,
    help="1 while the smoothed loss lies within the job's expectations, 0 outside, NaN while no band is due.",
)
TRAINER_CHECKPOINT_TIMESTAMP: Final = Metric(
    name="t2i_trainer_checkpoint_timestamp_seconds",
    type=MetricType.GAUGE,
    help="Time of the last committed checkpoint, seconds since the epoch.",
)
TRAINER_CHECKPOINT_STEP: Final = Metric(
    name="t2i_trainer_checkpoint_step", type=MetricType.GAUGE, help="Step of the last committed checkpoint."
)
TRAINER_CHECKPOINT_SECONDS: Final = Metric(
    name="t2i_trainer_checkpoint_seconds",
    type=MetricType.HISTOGRAM,
    help="Time from the end of a step to its committed checkpoint.",
)
TRAINER_CHECKPOINT_BLOCKED_SECONDS: Final = Metric(
    name="t2i_trainer_checkpoint_blocked_seconds",
    type=MetricType.HISTOGRAM,
    help="Time for which training stood still for a save: the snapshot, and the wait for the save before.",
)
TRAINER_CHECKPOINT_UPLOAD_SECONDS: Final = Metric(
    name="t2i_trainer_checkpoint_upload_seconds",
    type=MetricType.HISTOGRAM,
    help="Time in which a snapshot was hashed, uploaded and committed while training went on.",
)
TRAINER_CHECKPOINT_BYTES: Final = Metric(
    name="t2i_trainer_checkpoint_bytes_total", type=MetricType.COUNTER, help="Bytes of committed checkpoints."
)

OPERATOR_RECONCILES: Final = Metric(
    name="t2i_operator_reconciles_total",
    type=MetricType.COUNTER,
    help="Reconciles by outcome.",
    labels=("outcome",),
)
OPERATOR_RECONCILE_SECONDS: Final = Metric(
    name="t2i_operator_reconcile_seconds", type=MetricType.HISTOGRAM, help="Duration of a reconcile."
)
OPERATOR_STATUS_REFUSALS: Final = Metric(
    name="t2i_operator_status_refusals_total",
    type=MetricType.COUNTER,
    help="Statuses that the API server did not take whole: the installed CRD is probably older than the operator.",
)
OPERATOR_QUEUE_DEPTH: Final = Metric(
    name="t2i_operator_queue_depth", type=MetricType.GAUGE, help="Keys that wait for a reconcile."
)
OPERATOR_LEADER: Final = Metric(
    name="t2i_operator_leader", type=MetricType.GAUGE, help="1 while this process holds the lease."
)
JOB_CONDITION: Final = Metric(
    name="t2i_job_condition",
    type=MetricType.GAUGE,
    help="1 for the status (True, False or Unknown) that a condition has.",
    labels=(*_JOB, "condition", "status", "reason"),
)
JOB_ATTEMPT: Final = Metric(
    name="t2i_job_attempt", type=MetricType.GAUGE, help="Number of the newest attempt.", labels=_JOB
)
JOB_RESTARTS: Final = Metric(
    name="t2i_job_restarts", type=MetricType.GAUGE, help="Restarts by cause.", labels=(*_JOB, "cause")
)
JOB_VERDICT: Final = Metric(
    name="t2i_job_checkpoint_verdict",
    type=MetricType.GAUGE,
    help="1 for the verdict of the last preflight.",
    labels=(*_JOB, "verdict"),
)
JOB_ARCHIVED_BYTES: Final = Metric(
    name="t2i_job_archived_bytes", type=MetricType.GAUGE, help="Bytes moved to the archive.", labels=_JOB
)
JOB_STEP: Final = Metric(name="t2i_job_step", type=MetricType.GAUGE, help="Last known step.", labels=_JOB)
JOB_PROGRESS: Final = Metric(
    name="t2i_job_progress_ratio", type=MetricType.GAUGE, help="Share of the steps that are done, 0 to 1.", labels=_JOB
)
JOB_LOSS: Final = Metric(
    name="t2i_job_last_loss", type=MetricType.GAUGE, help="Last known loss; outlives the pods.", labels=_JOB
)
JOB_FINDING: Final = Metric(
    name="t2i_job_finding",
    type=MetricType.GAUGE,
    help="1 for everything that a run noticed about itself; outlives the pods.",
    labels=(*_JOB, "finding", "severity"),
)
JOB_CHECKPOINT_TIMESTAMP: Final = Metric(
    name="t2i_job_checkpoint_timestamp_seconds",
    type=MetricType.GAUGE,
    help="Time of the last committed checkpoint, seconds since the epoch.",
    labels=_JOB,
)

TRAINER_METRICS: Final = (
    TRAINER_LOSS,
    TRAINER_LOSS_SMOOTHED,
    TRAINER_STEP,
    TRAINER_TARGET_STEPS,
    TRAINER_IMAGES,
    TRAINER_GRADIENT_NORM,
    TRAINER_LEARNING_RATE,
    TRAINER_STEP_SECONDS,
    TRAINER_DATA_WAIT,
    TRAINER_MFU,
    TRAINER_GPU_MEMORY,
    TRAINER_NON_FINITE,
    TRAINER_SKIPPED_STEPS,
    TRAINER_ROLLBACKS,
    TRAINER_FINDINGS,
    TRAINER_LOSS_QUARTILE,
    TRAINER_EVALUATION_LOSS,
    TRAINER_AS_EXPECTED,
    TRAINER_CHECKPOINT_TIMESTAMP,
    TRAINER_CHECKPOINT_STEP,
    TRAINER_CHECKPOINT_SECONDS,
    TRAINER_CHECKPOINT_BLOCKED_SECONDS,
    TRAINER_CHECKPOINT_UPLOAD_SECONDS,
    TRAINER_CHECKPOINT_BYTES,
)
OPERATOR_METRICS: Final = (
    OPERATOR_RECONCILES,
    OPERATOR_RECONCILE_SECONDS,
    OPERATOR_STATUS_REFUSALS,
    OPERATOR_QUEUE_DEPTH,
    OPERATOR_LEADER,
    JOB_CONDITION,
    JOB_ATTEMPT,
    JOB_RESTARTS,
    JOB_VERDICT,
    JOB_ARCHIVED_BYTES,
    JOB_STEP,
    JOB_PROGRESS,
    JOB_LOSS,
    JOB_FINDING,
    JOB_CHECKPOINT_TIMESTAMP,
)
