"""Alerts about training runs: what they learn, and whether their GPUs work."""

from typing import Final

from t2i_api.conditions import ConditionType, State
from t2i_api.metrics import job, trainer
from t2i_dev.alerts.alert import JOB, Alert, Severity, Threshold, in_state
from t2i_dev.promql import BY_JOB, ON_JOB, select

# NVIDIA's DCGM exporter (https://github.com/NVIDIA/dcgm-exporter), percent. Without it T2IGPUIdle stays quiet.
GPU_UTILIZATION: Final = "DCGM_FI_DEV_GPU_UTIL"
_OUTSIDE: Final = select(job.CONDITION_NOW, condition=ConditionType.AS_EXPECTED, status="False")
_UNFINISHED: Final = select(job.CONDITION_NOW, condition=ConditionType.SUCCEEDED, status="Unknown")
_POD: Final = "namespace, pod"

TRAINING_STALLED: Final = Alert(
    name="T2ITrainingStalled",
    # Also where no step was ever reported; while a new attempt loads, `for` is its time.
    expression=f"""\
{in_state(State.TRAINING)}
unless {ON_JOB} (
  time() - max {BY_JOB} ({select(job.ADVANCED)})
    <= $threshold
)""",
    threshold=Threshold(value=300, meaning="seconds without a new step"),
    lasting="10m",
    severity=Severity.CRITICAL,
    summary=f"{JOB} runs, but its step counter stands still",
    description="All pods of the job run and no optimizer step is reported. The operator restarts the attempt after "
    "failurePolicy.stallSeconds; until then its GPUs do nothing.",
)
LOSS_NOT_FINITE: Final = Alert(
    name="T2ILossNotFinite",
    expression=f"""\
(
  sum {BY_JOB} (increase({select(trainer.NON_FINITE)}[15m]))
    > $threshold
)
or {in_state(State.NON_FINITE_LOSS)}""",
    threshold=Threshold(value=0, meaning="steps in 15 minutes whose loss or gradient is NaN or infinite"),
    lasting="0m",
    severity=Severity.WARNING,
    summary=f"{JOB} meets losses or gradients that are NaN or infinite",
    description="Such steps change no weight. After failurePolicy.maxSkippedSteps of them the run goes back to its "
    "last checkpoint, after failurePolicy.maxRollbacks it fails with NonFiniteLoss.",
)
LOSS_DIVERGING: Final = Alert(
    name="T2ILossDiverging",
    # Series against its own past, so that neither a new attempt nor a new job of the same name inherits a minimum.
    expression=f"""\
max {BY_JOB} (
  {select(trainer.LOSS_SMOOTHED)} / min_over_time({select(trainer.LOSS_SMOOTHED)}[6h])
)
  > $threshold""",
    threshold=Threshold(value=1.5, meaning="smoothed loss as a multiple of its lowest in six hours"),
    lasting="10m",
    severity=Severity.WARNING,
    summary=f"{JOB}: the smoothed loss rose to {{{{ $value | humanize }}}} times its lowest",
    description="The loss of this attempt rises instead of falling. Usual causes: a learning rate that is too high, "
    "gradients without clipping, damaged data.",
)
EXPECTATION_MISSED: Final = Alert(
    name="T2IExpectationMissed",
    # Running or between two attempts: a restart is no reason to call it off.
    expression=f"""\
max {BY_JOB} ({_OUTSIDE})
and {ON_JOB} max {BY_JOB} ({_UNFINISHED})
unless {ON_JOB} {in_state(State.SUSPENDED)}""",
    lasting="15m",
    severity=Severity.WARNING,
    summary=f"{JOB} does not learn as it should",
    description="Condition AsExpected is False: the smoothed loss left a band of spec.expectations, or the run noticed "
    "something about itself that keeps it from learning. Nothing is stopped for it.",
)
RESTART_LOOP: Final = Alert(
    name="T2IRestartLoop",
    # increase: a job that was deleted and created anew begins at attempt 1, which is no restart.
    expression=f"""\
sum {BY_JOB} (increase({select(job.ATTEMPT)}[1h]))
  >= $threshold""",
    threshold=Threshold(value=3, meaning="new attempts in an hour"),
    lasting="0m",
    severity=Severity.WARNING,
    summary=f'{JOB} started {{{{ $value | printf "%.0f" }}}} new attempts within an hour',
    description="Each attempt repeats the steps since the last checkpoint. Restarts that are no disruptions count "
    "against failurePolicy.maxRestarts; then the job fails.",
)
PENDING_TOO_LONG: Final = Alert(
    name="T2IPendingTooLong",
    expression=in_state(
        State.PENDING, State.JUDGING_CHECKPOINT, State.QUEUED, State.STARTING, State.RESTARTING, State.BLOCKED
    ),
    lasting="30m",
    severity=Severity.WARNING,
    summary=f"{JOB} has been waiting for half an hour and does not train",
    description="The job waits for quota, for nodes, for its image, or for a person: state Blocked says what must be "
    "mended before anything starts.",
)
DATA_STARVED: Final = Alert(
    name="T2IDataStarved",
    expression=f"""\
max {BY_JOB} (rate({select(trainer.DATA_WAIT)}[10m]))
  > $threshold""",
    threshold=Threshold(value=0.2, meaning="share of the time, 0 to 1, that the slowest rank waits for data"),
    lasting="15m",
    severity=Severity.WARNING,
    summary=f"{JOB} waits for its data {{{{ $value | humanizePercentage }}}} of the time",
    description="Batches are made more slowly than they are trained on, so that the GPUs wait.",
)
GPU_IDLE: Final = Alert(
    name="T2IGPUIdle",
    # dcgm-exporter names the pod that uses the GPU namespace and pod, or exported_… without honorLabels.
    expression=f"""\
avg {BY_JOB} (
  max by ({_POD}, gpu) (
    label_replace(
      label_replace(avg_over_time({GPU_UTILIZATION}[10m]), "pod", "$1", "exported_pod", "(.+)"),
      "namespace", "$1", "exported_namespace", "(.+)"
    )
  )
  * on ({_POD}) group_left (job_namespace, job_name)
  group by ({_POD}, job_namespace, job_name) ({select(trainer.STEP_SECONDS, "_count")})
)
  < $threshold""",
    threshold=Threshold(value=5, meaning="percent that the job's GPUs are busy, on average (needs dcgm-exporter)"),
    lasting="15m",
    severity=Severity.WARNING,
    summary=f'{JOB} holds GPUs that are busy {{{{ $value | printf "%.0f" }}}} % of the time',
    description="The pods run and their GPUs do next to nothing.",
)

ALERTS: Final = (
    TRAINING_STALLED,
    LOSS_NOT_FINITE,
    LOSS_DIVERGING,
    EXPECTATION_MISSED,
    RESTART_LOOP,
    PENDING_TOO_LONG,
    DATA_STARVED,
    GPU_IDLE,
)
