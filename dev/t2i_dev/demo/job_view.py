"""What a user sees of a job: its object, its pods and its events, read with the administrator's certificate."""

import http.client
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from t2i_api.attempt import GROUP, LABEL_ATTEMPT, LABEL_JOB, METRICS_PORT, PLURAL, VERSION
from t2i_api.job import DiffusionTrainingJob
from t2i_api.progress import MAXIMUM_PROGRESS_BYTES, Progress
from t2i_api.status import JobStatus
from t2i_dev.cluster import LocalCluster
from t2i_dev.cluster.container_runtime import ctr
from t2i_dev.errors import ComponentFailedError

POLL_SECONDS = 0.5
ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class JobView:
    """One job in a cluster."""

    cluster: LocalCluster
    name: str
    namespace: str = "default"

    @property
    def path(self) -> str:
        """Path of the object in the API."""
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}/{self.name}"

    def job(self) -> DiffusionTrainingJob | None:
        """The job as it stands, or None while it cannot be read."""
        document = self.cluster.client.get(self.path)
        return DiffusionTrainingJob.from_object(document) if document else None

    def status(self) -> JobStatus:
        """The status as it stands; empty before the operator's first word."""
        job = self.job()
        return job.status if job and job.status else JobStatus()

    def pods(self, attempt: int) -> list[dict[str, Any]]:
        """The pods of an attempt, by index."""
        selector = f"{LABEL_JOB}={self.name},{LABEL_ATTEMPT}={attempt}"
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={selector}"
        answer = self.cluster.client.get(path) or {"items": []}
        return sorted(answer["items"], key=lambda pod: str(pod["metadata"]["name"]))

    def events(self) -> list[dict[str, Any]]:
        """The events of this job, oldest first."""
        text = self.cluster.kubectl(
            "get",
            "events",
            "--namespace",
            self.namespace,
            "--field-selector",
            f"involvedObject.name={self.name}",
            "--sort-by=.metadata.creationTimestamp",
            "-o",
            "json",
        )
        events: list[dict[str, Any]] = json.loads(text)["items"]
        return events

    def statuses(self, timeout_seconds: float) -> Iterator[JobStatus]:
        """Every status as it is seen, until the caller stops; raises ComponentFailedError after the time."""
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end:
            yield self.status()
            time.sleep(POLL_SECONDS)
        raise ComponentFailedError(
            f"{self.name}: not done within {timeout_seconds:.0f} s; last status: "
            f"{self.status().model_dump_json(by_alias=True, exclude_none=True)}"
        )

    def wait(self, until: Callable[[JobStatus], bool], timeout_seconds: float) -> JobStatus:
        """Poll until the condition holds; returns that status."""
        return next(status for status in self.statuses(timeout_seconds) if until(status))

    def trainer_progress(self, attempt: int) -> Progress | None:
        """What rank 0 says of itself right now, None while it does not answer; the status follows seconds later."""
        for pod in self.pods(attempt)[:1]:
            address = pod.get("status", {}).get("podIP")
            if address is None:
                return None
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(f"http://{address}:{METRICS_PORT}/progress", timeout=ANSWER_SECONDS) as answer:
                    return Progress.model_validate_json(answer.read(MAXIMUM_PROGRESS_BYTES))
            except (OSError, http.client.HTTPException, ValidationError):
                return None
        return None

    def kill_container(self, attempt: int, index: int) -> str:
        """SIGKILL the trainer in one pod, as the kernel would; returns the pod's name."""
        pod = self.pods(attempt)[index]
        kill_container(self.cluster, pod)
        return str(pod["metadata"]["name"])


def kill_container(cluster: LocalCluster, pod: dict[str, Any]) -> None:
    """SIGKILL every process of a pod's container, as the kernel would; raises ComponentFailedError if none runs."""
    if cluster.containerd_socket is None:
        raise ComponentFailedError(f"the cluster {cluster.name} has no node, so there is no pod to kill")
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    ctr(cluster.containerd_socket, "tasks", "kill", "--signal", "SIGKILL", "--all", container)


def finished(status: JobStatus) -> bool:
    """Whether the summary condition is decided."""
    condition = status.condition("Succeeded")
    return condition is not None and condition.status != "Unknown"
