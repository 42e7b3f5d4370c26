"""A running operator process against the real API server and S3 server, in a namespace of its own.

Where no node exists, the test plays the kubelet: it writes the pods' status as the kubelet would.
"""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from t2i_api.attempt import CONTAINER_NAME
from t2i_api.presets import PRESETS
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_checkpoint.unet import unet_architecture
from t2i_dev.cluster import LocalCluster

T = TypeVar("T")
SECONDS = 60.0
POLL_SECONDS = 0.15
PATHS = {  # a kubectl costs as much as fifty requests
    "job.batch": "/apis/batch/v1/namespaces/{}/jobs",
    "pods": "/api/v1/namespaces/{}/pods",
    "dtj": "/apis/training.t2i.dev/v1alpha1/namespaces/{}/diffusiontrainingjobs",
    "configmap": "/api/v1/namespaces/{}/configmaps",
    "events": "/apis/events.k8s.io/v1/namespaces/{}/events",
    "lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}
ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}  # as in the operator's image
# Names of a home-made UNet, as the story has them.
OLD_WEIGHTS = save(
    {
        "in_layers.0.weight": np.zeros((32, 3, 3, 3), np.float32),
        "out_layers.0.weight": np.zeros((32, 32, 3, 3), np.float32),
        "skip_connection.weight": np.zeros((32, 32, 1, 1), np.float32),
    }
)


def eventually(look: Callable[[], T | None], what: str, *, seconds: float = SECONDS) -> T:
    """Return the first truthy answer; fails saying what did not happen."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds} s: {what}")
        time.sleep(POLL_SECONDS)


@dataclass
class OperatorProcess:
    """`t2i-operator` as a process; may be killed and started again under the same or another identity."""

    cluster: LocalCluster
    namespace: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, identity: str = "operator-0") -> None:
        """Start it; returns at once."""
        command = [
            *(sys.executable, "-m", "t2i_operator.main", "--kubeconfig", str(self.cluster.kubeconfig)),
            *("--namespace", self.namespace, "--lease-namespace", self.namespace, "--identity", identity),
            *("--metrics-host", "127.0.0.1", "--metrics-port", "0", *arguments),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "T2I_"))}
        environment |= ALLOCATOR
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process, which was started."""
        assert self.process is not None
        return self.process

    def kill(self) -> None:
        """SIGKILL: no chance to say anything."""
        self.running.kill()
        self.running.wait()

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(timeout=30)

    def lines(self) -> str:
        """Everything it logged so far."""
        return self.log.read_text() if self.log.exists() else ""

    def get(self, page: str) -> str:
        """Return one of its pages, from the newest start."""
        ports = eventually(lambda: re.findall(r"listening .*port=(\d+)", self.lines()), "the operator listens")
        with urlopen(f"http://127.0.0.1:{ports[-1]}{page}", timeout=10) as answer:
            return str(answer.read().decode())


@dataclass
class Place:
    """A namespace, a bucket prefix and an operator that watches only this."""

    cluster: LocalCluster
    namespace: str
    prefix: str
    operator: OperatorProcess
    store: Store
    old_weights: bytes = OLD_WEIGHTS
    names: list[str] = field(default_factory=list)

    def kubectl(self, *arguments: str, document: dict[str, Any] | None = None) -> str:
        """Run kubectl in the namespace."""
        stdin = yaml.safe_dump(document) if document is not None else None
        return self.cluster.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        items: list[dict[str, Any]] = self.get(kind)["items"]
        return items

    def get(self, kind: str, name: str = "", query: str = "") -> dict[str, Any]:
        """Return one object, or the list of all."""
        path = PATHS[kind].format(self.namespace) + (f"/{name}" if name else "") + query
        for pause in (1, 3, None):
            try:
                found = self.cluster.client.find(path)
            except OSError:  # a busy machine
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                assert found is not None, f"no {kind} {name}"
                return found
        raise AssertionError(path)

    def events(self, reason: str) -> list[dict[str, Any]]:
        """Return the job's events of that reason."""
        found = [item for item in self.objects("events") if item["reason"] == reason]
        return [item for item in found if item["regarding"]["name"] == "emoji"]

    def status(self, name: str = "emoji") -> dict[str, Any]:
        """Return the job's status."""
        return dict(self.get("dtj", name).get("status") or {})

    def state(self, name: str = "emoji") -> str:
        """Return the STATE column."""
        conditions = self.status(name).get("conditions", [])
        return str(next((item["reason"] for item in conditions if item["type"] == "Succeeded"), ""))

    def condition(self, kind: str) -> dict[str, Any]:
        """Return a condition, empty if it is not set."""
        return next((item for item in self.status().get("conditions", []) if item["type"] == kind), {})

    def reaches(self, state: str, *, seconds: float = SECONDS) -> None:
        """Wait for a state."""
        eventually(lambda: self.state() == state, f"state {state}, but {self.status()}", seconds=seconds)

    def apply(self, **changes: Any) -> None:
        """Create or change the job `emoji`: one worker; `changes` replace top-level fields of the spec."""
        spec = {
            "model": {
                "unet": {"preset": "tiny"},
                "textEncoder": {"uri": "s3://t2i/models/minilm"},
                "pixelUnshuffleFactor": 2,
            },
            "data": {"uri": "s3://t2i/data/emoji", "resolution": 32},
            "training": {"steps": 100, "globalBatchSize": 32, "learningRate": 0.001},
            "checkpoint": {
                "uri": f"s3://t2i/{self.prefix}",
                "endpoint": self.cluster.s3.endpoint,
                "credentialsSecretRef": {"name": "bucket"},
                "everySteps": 10,
            },
            **changes,
        }
        document = {
            "apiVersion": "training.t2i.dev/v1alpha1",
            "kind": "DiffusionTrainingJob",
            "metadata": {"name": "emoji"},
            "spec": spec,
        }
        self.kubectl("apply", "-f", "-", document=document)

    def put_old_checkpoint(self, folder: str = "checkpoint-5000") -> None:
        """Put a checkpoint of the old home-made UNet into the bucket."""
        self.store.put(f"{folder}/model.safetensors", OLD_WEIGHTS)

    def put_weights(self, key: str, *, changed: dict[str, tuple[int, ...]] | None = None) -> None:
        """Put a file with all weights of preset tiny into the bucket; `changed` parameters get other shapes."""
        parameters = unet_architecture(PRESETS["tiny"]).parameters
        shapes = {name: parameter.shape for name, parameter in parameters.items()} | (changed or {})
        self.store.put(key, save({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}))

    def bucket(self) -> list[str]:
        """Return every key below the job's prefix."""
        return sorted(info.key for info in self.store.list(""))

    def pod(self, attempt: int) -> str:
        """Return the name of the attempt's only pod, once the Job controller made it."""
        query = f"?labelSelector=training.t2i.dev%2Fattempt%3D{attempt}"
        (pod,) = eventually(lambda: self.get("pods", query=query)["items"], f"a pod of {attempt}")
        return str(pod["metadata"]["name"])

    def set_pod(self, name: str, phase: str, *, code: int | None = None, message: str = "") -> None:
        """Write a pod's status as the kubelet would."""
        state: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        if code is not None:
            state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}
        container = {
            "name": CONTAINER_NAME,
            "image": "x",
            "imageID": "",
            "ready": code is None,
            "restartCount": 0,
            "state": state,
        }
        status = {"phase": phase, "containerStatuses": [container]}
        self.cluster.client.merge(f"{PATHS['pods'].format(self.namespace)}/{name}/status", {"status": status})


@pytest.fixture
def place(crd: LocalCluster, tmp_path: Path) -> Iterator[Place]:
    """A namespace with the bucket's Secret and an operator that is not started yet."""
    name = f"op-{uuid.uuid4().hex[:8]}"
    server = crd.s3
    store = open_store(
        f"s3://t2i/{name}",
        endpoint=server.endpoint,
        credentials=Credentials(server.access_key, server.secret_key),
    )
    operator = OperatorProcess(crd, name, tmp_path / "operator.log")
    result = Place(crd, name, name, operator, store)
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    crd.client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    secret = {"metadata": {"name": "bucket"}, "stringData": keys}
    crd.client.create(f"/api/v1/namespaces/{name}/secrets", secret)
    yield result
    if operator.process is not None and operator.process.poll() is None:
        operator.kill()
    print(operator.lines()[-20_000:])  # noqa: T201  # pytest shows it when the test fails
    crd.client.delete(f"/api/v1/namespaces/{name}", {})
