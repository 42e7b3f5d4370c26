"""The node agent: registers a node, takes the pods that the real scheduler gives it, and runs them as processes.

    python -m t2i_dev.process_node.agent --directory <cluster's directory> --url https://127.0.0.1:6443

One loop, one thread: list this node's pods, move each on by a step, write the statuses that changed.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from t2i_dev.cluster.api_client import ApiClient, RequestRefusedError
from t2i_dev.cluster.layout import Files
from t2i_dev.cluster.node import GPU_RESOURCE, GPUS
from t2i_dev.cluster.node import PROCESS_NODE_NAME as NODE_NAME
from t2i_dev.cluster.state import CLUSTER_VARIABLE
from t2i_dev.process_node.addresses import AddressBook, host_name
from t2i_dev.process_node.identity import service_account_kubeconfig
from t2i_dev.process_node.pod_run import PodRun, grace_left, wait_ended
from t2i_dev.process_node.status import failed_status

log = logging.getLogger("process-node")

LOOP_SECONDS = 0.25
HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = 40
RUNTIME = "process://not-a-container-runtime"


@dataclass
class Agent:
    """One process node; `runs` by pod uid."""

    client: ApiClient
    directory: Path
    addresses: AddressBook = field(default_factory=AddressBook)
    runs: dict[str, PodRun] = field(default_factory=dict)
    heartbeat_at: float = 0.0

    def serve(self) -> None:
        """Run until SIGTERM; a request that fails is tried again in the next round."""
        while True:
            try:
                self._heartbeat()
                self._round()
            except (OSError, RequestRefusedError) as error:
                log.warning("the API server refuses or does not answer: %s", error)
                time.sleep(1.0)
            time.sleep(LOOP_SECONDS)

    def close(self) -> None:
        """Kill every pod's processes."""
        for run in self.runs.values():
            run.kill()

    def _heartbeat(self) -> None:
        if time.monotonic() - self.heartbeat_at < HEARTBEAT_SECONDS:
            return
        if self.client.find(f"/api/v1/nodes/{NODE_NAME}") is None:
            self.client.create("/api/v1/nodes", _node())
        self.client.merge(f"/api/v1/nodes/{NODE_NAME}/status", {"status": _node_status()})
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE_NAME}"
        self.client.apply(path, _lease())
        self.heartbeat_at = time.monotonic()

    def _round(self) -> None:
        listed = self.client.find(f"/api/v1/pods?fieldSelector=spec.nodeName={NODE_NAME}") or {"items": []}
        pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
        for uid in set(self.runs) - set(pods):
            # Deleted by force: nobody waits for its processes any more.
            self.runs[uid].kill()
            self.runs.pop(uid).remove()
        for uid, pod in pods.items():
            self._move_on(uid, pod)

    def _move_on(self, uid: str, pod: dict[str, Any]) -> None:
        run = self.runs.get(uid)
        if run is None:
            self._take(uid, pod)
            return
        if pod["metadata"].get("deletionTimestamp"):
            if run.end(grace_left(pod)):
                wait_ended(run, 1.0)
                self._tell(pod, run)
                self._delete(pod)
                self.runs.pop(uid).remove()
            return
        self._tell(pod, run)

    def _take(self, uid: str, pod: dict[str, Any]) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            self._delete(pod)
            return
        if pod["status"].get("phase") in {"Succeeded", "Failed"}:
            return
        if pod["status"].get("phase") == "Running" and pod["spec"].get("restartPolicy") != "Always":
            self._write(pod, failed_status("NodeRestarted", "the node was started anew; its pods ended with it"))
            return
        namespace = pod["metadata"]["namespace"]
        account = pod["spec"].get("serviceAccountName", "default")
        log.info("taking %s/%s", namespace, pod["metadata"]["name"])
        folder = self.directory / uid
        folder.mkdir(parents=True, exist_ok=True)
        self.runs[uid] = PodRun(
            pod=pod,
            directory=folder,
            address=self.addresses.address(f"{namespace}/{host_name(pod)}"),
            names=self.addresses.names(pod),
            fetch=lambda kind, name: self.client.find(f"/api/v1/namespaces/{namespace}/{kind}/{name}"),
            kubeconfig=lambda: service_account_kubeconfig(self.client, namespace, account, folder),
            marks={CLUSTER_VARIABLE: os.environ[CLUSTER_VARIABLE]} if CLUSTER_VARIABLE in os.environ else {},
        )

    def _tell(self, pod: dict[str, Any], run: PodRun) -> None:
        status = run.step()
        if status is not None and not self._write(pod, status):
            run.told = ""

    def _write(self, pod: dict[str, Any], status: dict[str, Any]) -> bool:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        try:
            self.client.merge(f"/api/v1/namespaces/{namespace}/pods/{name}/status", patch)
        except RequestRefusedError as error:
            log.warning("status of %s/%s: %s", namespace, name, error)
            return False
        return True

    def _delete(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        with contextlib.suppress(RequestRefusedError):
            self.client.delete(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", options)


def _node() -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux", "t2i.dev/development-node": "processes"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": labels}}


def _node_status() -> dict[str, Any]:
    """core/v1 NodeStatus: this machine's size, GPUs that only the scheduler counts, and what this node really is."""
    memory = psutil.virtual_memory().total // 1024
    size = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory}Ki",
        "ephemeral-storage": str(psutil.disk_usage("/").total),
        "pods": "64",
        GPU_RESOURCE: str(GPUS),
    }
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "ProcessNode",
        "message": "a development node that runs pods as plain processes, without isolation",
        "lastHeartbeatTime": now,
    }
    return {
        "capacity": size,
        "allocatable": size,
        "conditions": [ready],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": NODE_NAME}],
        "nodeInfo": {"containerRuntimeVersion": RUNTIME, "kubeletVersion": "process-node", "operatingSystem": "linux"},
    }


def _lease() -> dict[str, Any]:
    renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": NODE_NAME, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed}
    metadata = {"name": NODE_NAME, "namespace": "kube-node-lease"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description="Run a cluster's pods as processes of this machine (development).")
    parser.add_argument("--directory", type=Path, required=True, help="the cluster's private directory")
    parser.add_argument("--url", required=True, help="the API server")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    agent = Agent(ApiClient(Files(options.directory), options.url), options.directory / "pods")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        agent.serve()
    finally:
        agent.close()


if __name__ == "__main__":
    main()
