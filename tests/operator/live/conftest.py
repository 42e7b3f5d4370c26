"""A running operator process against the real API server and S3 server, in a namespace of its own.

Where no node exists, the test plays the kubelet: it writes the pods' status as the kubelet would.
"""

import json
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
from t2i_api.crd import render
from t2i_api.presets import PRESETS
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_checkpoint.unet import unet_architecture
from t2i_dev.cluster import LocalCluster
from t2i_dev.errors import ComponentFailedError

T = TypeVar("T")
SECONDS = 40.0
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
        time.sleep(0.1)


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
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return items

    def status(self, name: str = "emoji") -> dict[str, Any]:
        """Return the job's status."""
        raw = json.loads(self.kubectl("get", "dtj", name, "-o", "json"))
        return dict(raw.get("status") or {})

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
        selector = f"training.t2i.dev/attempt={attempt}"
        name = eventually(lambda: self.kubectl("get", "pods", "-l", selector, "-o", "name"), f"a pod of {attempt}")
        return name.strip().removeprefix("pod/")

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
        patch = json.dumps({"status": status})
        self.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture(scope="session")
def crd(control_plane: LocalCluster) -> LocalCluster:
    """The control plane with the custom resource installed."""
    control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(render()))
    eventually(lambda: _serves_jobs(control_plane), "the API server serves the new kind")
    return control_plane


def _serves_jobs(cluster: LocalCluster) -> bool:
    # `kubectl wait` fails while the new CRD has no conditions yet.
    try:
        cluster.kubectl("get", "diffusiontrainingjobs.training.t2i.dev", "-A")
    except ComponentFailedError:
        return False
    return True


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
    crd.kubectl("create", "namespace", name)
    result.kubectl(
        *("create", "secret", "generic", "bucket"),
        f"--from-literal=AWS_ACCESS_KEY_ID={server.access_key}",
        f"--from-literal=AWS_SECRET_ACCESS_KEY={server.secret_key}",
    )
    yield result
    if operator.process is not None and operator.process.poll() is None:
        operator.kill()
    print(operator.lines()[-20_000:])  # noqa: T201  # pytest shows it when the test fails
    crd.kubectl("delete", "namespace", name, "--wait=false")
