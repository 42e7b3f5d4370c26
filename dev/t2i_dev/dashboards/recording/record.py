"""`python -m t2i_dev.dashboards.recording.record` makes the recording: real pods, real operator, real Prometheus.

Pods are plain processes of this machine (t2i_dev.process_node), so neither root nor images are needed.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from t2i_api.attempt import METRICS_PORT
from t2i_api.status import JobStatus
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_dev.cluster import LocalCluster
from t2i_dev.dashboards.recording import jobs, tape
from t2i_dev.demo.discovery import discovered_pods, scrape_configs
from t2i_dev.demo.environment import create_secret, install_chart
from t2i_dev.demo.job_view import JobView, finished
from t2i_dev.demo.plan import BUCKET_URI, short_plan
from t2i_dev.errors import ComponentFailedError
from t2i_dev.progress import Progress
from t2i_dev.prometheus import SCRAPE_INTERVAL_SECONDS, Prometheus
from t2i_dev.story import old_checkpoint
from t2i_dev.story.prepare import prepare_bucket

CLUSTER_NAME = "dashboards"
JOB_TIMEOUT_SECONDS = 1800.0
# A little of before and after, so that the first and the last points are seen to be these.
_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Studio:
    """A cluster with the operator, a bucket with data, and a Prometheus that scrapes what is to be recorded."""

    cluster: LocalCluster
    prometheus: Prometheus

    def store(self, uri: str) -> Store:
        """A store of the cluster's S3 server."""
        s3 = self.cluster.s3
        return open_store(uri, endpoint=s3.endpoint, credentials=Credentials(s3.access_key, s3.secret_key))

    def begin(self, document: dict[str, Any]) -> JobView:
        """`kubectl apply` a job."""
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        return JobView(self.cluster, document["metadata"]["name"])


@contextmanager
def studio(directory: Path, progress: Progress) -> Iterator[Studio]:
    """Set up; everything is gone afterwards, except what Prometheus stored below `directory`."""
    with LocalCluster.start(CLUSTER_NAME, node=False, with_owner=True, progress=progress) as cluster:
        cluster.add_process_node()
        install_chart(cluster)
        create_secret(cluster)
        targets = directory / "targets.json"
        with (
            discovered_pods(cluster, targets),
            Prometheus.start(directory / "prometheus", scrape_configs(targets)) as prometheus,
        ):
            made = Studio(cluster, prometheus)
            prepare_bucket(made.store(BUCKET_URI))
            yield made


def record(progress: Progress) -> None:
    """Let everything happen, and keep it."""
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder), progress) as made:
        begin = time.time()
        with progress.stage("run the jobs"):
            play(made, Path(folder))
        time.sleep(_MARGIN_SECONDS)
        facts = tape.Facts(
            begin=begin,
            end=time.time(),
            scrape_interval=SCRAPE_INTERVAL_SECONDS,
            namespace="default",
            story=jobs.STORY,
            hot=jobs.HOT,
        )
        tape.write(made.prometheus.snapshot(), facts)
    progress.say(f"kept {facts.end - facts.begin:.0f} s in {tape.path()} ({tape.path().stat().st_size >> 10} KiB)")


def play(made: Studio, directory: Path) -> None:
    """Let the jobs run; raises ComponentFailedError where one ends unlike its part.

    One after the other: pods of the process node share this machine's ports, and torch's rendezvous takes one.
    """
    plan, endpoint = short_plan(), made.cluster.s3.endpoint
    made.begin(jobs.waiting(plan, endpoint))
    expect_end(made.begin(jobs.hot(plan, endpoint)), "NonFiniteLoss")
    document = jobs.story(plan, endpoint)
    files = old_checkpoint.write_old_checkpoints(directory)
    old_checkpoint.put_old_checkpoints(made.store(document["spec"]["checkpoint"]["uri"]), files)
    story = made.begin(document)
    kill_after_checkpoint(story, document["spec"]["training"]["steps"] // 2)
    expect_end(story, "Completed")
    expect_end(made.begin(jobs.calm(plan, endpoint)), "Completed")


def kill_after_checkpoint(view: JobView, step: int) -> None:
    """SIGKILL the trainer once the run is beyond a step and has something to resume from."""
    for status in view.statuses(JOB_TIMEOUT_SECONDS):
        progress = None if status.attempt is None else view.trainer_progress(status.attempt.number)
        if status.attempt is None or progress is None or progress.last_checkpoint_step is None or progress.step < step:
            continue
        address = view.pods(status.attempt.number)[0]["status"]["podIP"]
        os.kill(serving(address), signal.SIGKILL)
        return


def serving(address: str) -> int:
    """Return the process that serves a pod's metrics. Raises ComponentFailedError if none does."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr == (address, METRICS_PORT) and connection.pid:
            return connection.pid
    raise ComponentFailedError(f"nothing serves {address}:{METRICS_PORT}")


def expect_end(view: JobView, reason: str) -> JobStatus:
    """Wait for the end of a job; raises ComponentFailedError if it ends in another way."""
    status = view.wait(finished, JOB_TIMEOUT_SECONDS)
    condition = status.condition("Succeeded")
    if condition is None or condition.reason != reason:
        raise ComponentFailedError(f"{view.name} was to end in {reason}: {condition}")
    return status


if __name__ == "__main__":
    record(Progress())
