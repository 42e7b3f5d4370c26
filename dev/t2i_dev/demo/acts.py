"""The story, act by act: old checkpoint, verdict, archive, training, a killed pod, the exact resume, the end.

Each act waits for what a user would see and returns what it saw, so that the demo can tell it and the end-to-end test
can hold it against cluster and bucket.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from t2i_api.status import ArchiveStatus, AttemptStatus, CheckpointStatus, JobStatus
from t2i_dev.demo.environment import DemoEnvironment
from t2i_dev.demo.job_view import JobView, finished
from t2i_dev.demo.plan import DemoPlan
from t2i_dev.errors import ComponentFailedError
from t2i_dev.story import old_checkpoint

Watcher = Callable[[JobStatus], None]

VERDICT_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Judged:
    """Act one: what the operator said of the old checkpoints, and what it did with them."""

    old: dict[str, str]  # key below the job's URI -> sha256
    verdict: CheckpointStatus
    archive: ArchiveStatus


@dataclass(frozen=True, slots=True)
class Killed:
    """Act two: a pod died."""

    pod: str
    at_step: int
    committed_step: int  # the newest committed checkpoint when the pod died


@dataclass(frozen=True, slots=True)
class Resumed:
    """Act three: what the next attempt went on from."""

    attempt: AttemptStatus


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """One line of metrics.jsonl."""

    step: int
    loss: float
    attempt: int


def put_old_checkpoints(environment: DemoEnvironment, plan: DemoPlan, directory: Path) -> dict[str, str]:
    """Write what the team's old program left in the bucket: a home-made UNet at steps 4000 and 5000."""
    files = old_checkpoint.write_old_checkpoints(directory)
    return old_checkpoint.put_old_checkpoints(environment.store(plan.job.spec.checkpoint.uri), files)


def apply_job(
    environment: DemoEnvironment, plan: DemoPlan, *, name: str | None = None, uri: str | None = None
) -> JobView:
    """`kubectl apply` the example; `name` and `uri` make a second job of it."""
    document = plan.document(endpoint=environment.cluster.s3.endpoint, name=name, uri=uri)
    environment.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    return JobView(environment.cluster, document["metadata"]["name"])


def see_verdict(view: JobView, old: dict[str, str]) -> Judged:
    """Wait for the verdict and the archive."""

    def archived(status: JobStatus) -> bool:
        return status.archive is not None and status.archive.completed_at is not None

    seen: CheckpointStatus | None = None
    for status in view.statuses(VERDICT_TIMEOUT_SECONDS):
        if status.checkpoint is not None and status.checkpoint.verdict is not None and seen is None:
            seen = status.checkpoint
        if finished(status):
            raise ComponentFailedError(f"{view.name} ended before the archive: {status.message}")
        if archived(status) and seen is not None and status.archive is not None:
            return Judged(old, seen, status.archive)
    raise AssertionError("statuses() ends with an error")


def kill_half_way(view: JobView, plan: DemoPlan, watch: Watcher) -> Killed:
    """Wait until half of the steps are done and a checkpoint is committed, then SIGKILL the trainer of pod 1."""
    for status in view.statuses(plan.timeout_seconds):
        watch(status)
        if finished(status):
            raise ComponentFailedError(f"{view.name} ended before half-way: {status.message}")
        if status.attempt is None:
            continue
        progress = view.trainer_progress(status.attempt.number)
        if progress is None or progress.last_checkpoint_step is None or progress.step < plan.kill_after_step:
            continue
        pod = view.kill_container(status.attempt.number, index=1)
        return Killed(pod, progress.step, progress.last_checkpoint_step)
    raise AssertionError("statuses() ends with an error")


def see_resume(view: JobView, plan: DemoPlan) -> Resumed:
    """Wait until the second attempt runs and has moved."""

    def goes_on(status: JobStatus) -> bool:
        attempt = status.attempt
        return attempt is not None and attempt.number > 1 and attempt.running_since is not None

    status = view.wait(lambda status: goes_on(status) or finished(status), plan.timeout_seconds)
    if status.attempt is None or status.attempt.number < 2:  # noqa: PLR2004  # the second attempt
        raise ComponentFailedError(f"{view.name} did not restart: {status.message}")
    return Resumed(status.attempt)


def see_end(view: JobView, plan: DemoPlan, watch: Watcher) -> JobStatus:
    """Wait until the job is done; raises when it failed."""
    for status in view.statuses(plan.timeout_seconds):
        watch(status)
        condition = status.condition("Succeeded")
        if condition is not None and condition.status == "True":
            return status
        if condition is not None and condition.status == "False":
            raise ComponentFailedError(f"{view.name} failed: {condition.reason}: {condition.message}")
    raise AssertionError("statuses() ends with an error")


def read_metrics(environment: DemoEnvironment, uri: str) -> list[MetricsRow]:
    """The loss of every step, as the trainer wrote it."""
    text = environment.store(uri).read("metrics.jsonl").decode()
    rows = [json.loads(line) for line in text.splitlines()]
    return [MetricsRow(row["step"], row["loss"], row["attempt"]) for row in rows]


def first_difference(left: list[MetricsRow], right: list[MetricsRow]) -> int | None:
    """The first step at which two runs are not equal bit for bit, or None."""
    losses = {row.step: row.loss for row in right}
    for row in left:
        other = losses.get(row.step, math.nan)
        if row.loss != other:
            return row.step
    return None if len(left) == len(right) else min(len(left), len(right)) + 1
