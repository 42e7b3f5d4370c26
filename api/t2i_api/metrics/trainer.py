"""What every pod of a training run exports at port 9400.

What is one figure for the whole run comes from rank 0 alone (`RUN_METRICS`), so that eight pods do not say the loss
eight times; what differs between processes carries their `rank` (`RANK_METRICS`). A gauge has no sample until its value
is known: no checkpoint is not a checkpoint of 1970.
"""

from typing import Final

from t2i_api.metrics.definition import Label, Unit, counter, gauge, histogram
from t2i_api.metrics.labels import CAPTION, FINDING, PHASE, QUARTILE, RANK, SEVERITY

_STEP_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_BLOCKED_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300)
_SAVE_BUCKETS: Final = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600)
_ONE_A_RUN: Final = "one value a run"

BUILD_INFO: Final = gauge(
    "t2i_trainer_build_info",
    Unit.YES_NO,
    "1; the versions that the run is made with.",
    *(Label(name=name, bound=_ONE_A_RUN) for name in ("version", "python", "torch", "diffusers")),
)
RUN_INFO: Final = gauge(
    "t2i_trainer_run_info",
    Unit.YES_NO,
    "1; what is trained, and on how many processes of what device.",
    *(
        Label(name=name, bound=_ONE_A_RUN)
        for name in ("unet", "schedule", "prediction_type", "precision", "device", "world_size")
    ),
)
PHASE_NOW: Final = gauge("t2i_trainer_phase", Unit.YES_NO, "1 for what rank 0 is doing right now, else 0.", PHASE)
STEP: Final = gauge("t2i_trainer_step", Unit.STEPS, "Optimizer steps done since step 0 of the run.")
TARGET_STEPS: Final = gauge("t2i_trainer_target_steps", Unit.STEPS, "Optimizer steps that the job asks for.")
STEP_TIMESTAMP: Final = gauge(
    "t2i_trainer_step_timestamp_seconds", Unit.TIMESTAMP, "When rank 0 heard of the last step."
)
EXPECTED_END: Final = gauge(
    "t2i_trainer_expected_end_timestamp_seconds",
    Unit.TIMESTAMP,
    "When the last step will be done at the present pace, saves and pictures not counted.",
)
IMAGES: Final = counter("t2i_trainer_images_total", Unit.IMAGES, "Images trained on by this attempt, all ranks.")
GLOBAL_BATCH: Final = gauge("t2i_trainer_global_batch_size", Unit.IMAGES, "Images of one optimizer step, all ranks.")
LOSS: Final = gauge("t2i_trainer_loss", Unit.NONE, "Loss of the last global batch; NaN or Inf where it was that.")
LOSS_SMOOTHED: Final = gauge(
    "t2i_trainer_loss_smoothed", Unit.NONE, "Exponential moving average of the finite losses (0.98 a step)."
)
LOSS_BY_TIMESTEP: Final = gauge(
    "t2i_trainer_loss_by_timestep",
    Unit.NONE,
    "Smoothed loss of the samples whose timestep lies in a quarter of the range; 1 is the least noise.",
    QUARTILE,
)
EVALUATION_LOSS: Final = gauge(
    "t2i_trainer_evaluation_loss",
    Unit.NONE,
    "Loss on the fixed evaluation grid with the right caption, a wrong one or none.",
    CAPTION,
)
EVALUATION_STEP: Final = gauge("t2i_trainer_evaluation_step", Unit.STEPS, "Step after which the grid was evaluated.")
AS_EXPECTED: Final = gauge(
    "t2i_trainer_loss_as_expected",
    Unit.YES_NO,
    "1 while the smoothed loss lies within the job's expectations, 0 outside; no sample while no band is due.",
)
GRADIENT_NORM: Final = gauge(
    "t2i_trainer_gradient_norm", Unit.NONE, "Gradient norm before clipping; NaN or Inf where it was that."
)
LEARNING_RATE: Final = gauge("t2i_trainer_learning_rate", Unit.NONE, "Learning rate of the last step.")
NON_FINITE: Final = counter(
    "t2i_trainer_non_finite_steps_total", Unit.STEPS, "Steps whose loss or gradient was NaN or Inf."
)
SKIPPED: Final = counter(
    "t2i_trainer_skipped_steps_total", Unit.STEPS, "Steps that changed no weight: not finite, or a spike."
)
ROLLBACKS: Final = counter(
    "t2i_trainer_rollbacks_total",
    Unit.COUNT,
    "Times the run went back to a checkpoint after steps that were not finite.",
)
FINDINGS: Final = counter(
    "t2i_trainer_findings_total", Unit.COUNT, "What the run noticed about itself, by name.", FINDING, SEVERITY
)
SAMPLE_GRIDS: Final = counter("t2i_trainer_sample_grids_total", Unit.COUNT, "Sample grids written by this attempt.")
CHECKPOINT_TIMESTAMP: Final = gauge(
    "t2i_trainer_checkpoint_timestamp_seconds",
    Unit.TIMESTAMP,
    "When the newest committed checkpoint of the run was made; no sample before the first.",
)
CHECKPOINT_STEP: Final = gauge(
    "t2i_trainer_checkpoint_step",
    Unit.STEPS,
    "Step of the newest committed checkpoint of the run, also of one that it resumed from; 0 before the first.",
)
CHECKPOINT_INTERVAL: Final = gauge(
    "t2i_trainer_checkpoint_interval_steps", Unit.STEPS, "Steps between two checkpoints, as the job asks."
)
CHECKPOINT_SECONDS: Final = histogram(
    "t2i_trainer_checkpoint_seconds",
    Unit.SECONDS,
    "Time from the end of a step to its committed checkpoint.",
    _SAVE_BUCKETS,
)
CHECKPOINT_BLOCKED: Final = histogram(
    "t2i_trainer_checkpoint_blocked_seconds",
    Unit.SECONDS,
    "Time for which training stood still for a save: the snapshot, and the wait for the save before.",
    _BLOCKED_BUCKETS,
)
CHECKPOINT_UPLOAD: Final = histogram(
    "t2i_trainer_checkpoint_upload_seconds",
    Unit.SECONDS,
    "Time in which a snapshot was hashed, uploaded and committed while training went on.",
    _SAVE_BUCKETS,
)
CHECKPOINT_BYTES: Final = counter(
    "t2i_trainer_checkpoint_bytes_total", Unit.BYTES, "Bytes of checkpoints that this attempt committed."
)
CHECKPOINT_FAILURES: Final = counter(
    "t2i_trainer_checkpoint_failures_total", Unit.COUNT, "Saves that failed; the attempt ends with the reason."
)

STEP_SECONDS: Final = histogram(
    "t2i_trainer_step_seconds",
    Unit.SECONDS,
    "Time from the end of one step to the end of the next on the device, saves and pictures not counted.",
    _STEP_BUCKETS,
    RANK,
)
FORWARD_SECONDS: Final = counter(
    "t2i_trainer_forward_seconds_total",
    Unit.SECONDS,
    "Time of forward passes. With training.parallelism DataParallel no rank waits for another in them: the slowest one "
    "holds up all. With FullShard they gather weights, for which ranks wait for each other.",
    RANK,
)
DATA_WAIT: Final = counter(
    "t2i_trainer_data_wait_seconds_total",
    Unit.SECONDS,
    "Time for which the training loop waited for its next batch.",
    RANK,
)
MFU: Final = gauge(
    "t2i_trainer_model_flops_utilization_ratio",
    Unit.RATIO,
    "Share of the GPU's bfloat16 peak that the last step's arithmetic reached; no sample where no peak is known.",
    RANK,
)
GPU_MEMORY: Final = gauge(
    "t2i_trainer_gpu_memory_peak_bytes",
    Unit.BYTES,
    "Most GPU memory that tensors of this process took so far; no sample on CPUs.",
    RANK,
)
GPU_MEMORY_SIZE: Final = gauge(
    "t2i_trainer_gpu_memory_size_bytes", Unit.BYTES, "Memory of the GPU; no sample on CPUs.", RANK
)

RUN_METRICS: Final = (
    BUILD_INFO,
    RUN_INFO,
    PHASE_NOW,
    STEP,
    TARGET_STEPS,
    STEP_TIMESTAMP,
    EXPECTED_END,
    IMAGES,
    GLOBAL_BATCH,
    LOSS,
    LOSS_SMOOTHED,
    LOSS_BY_TIMESTEP,
    EVALUATION_LOSS,
    EVALUATION_STEP,
    AS_EXPECTED,
    GRADIENT_NORM,
    LEARNING_RATE,
    NON_FINITE,
    SKIPPED,
    ROLLBACKS,
    FINDINGS,
    SAMPLE_GRIDS,
    CHECKPOINT_TIMESTAMP,
    CHECKPOINT_STEP,
    CHECKPOINT_INTERVAL,
    CHECKPOINT_SECONDS,
    CHECKPOINT_BLOCKED,
    CHECKPOINT_UPLOAD,
    CHECKPOINT_BYTES,
    CHECKPOINT_FAILURES,
)
RANK_METRICS: Final = (STEP_SECONDS, FORWARD_SECONDS, DATA_WAIT, MFU, GPU_MEMORY, GPU_MEMORY_SIZE)
