"""Finds what Prometheus scrapes, with the very configuration that users are told: examples/prometheus.yml.

Debian builds Prometheus without Kubernetes discovery, so this writes what that would find (role pod: every port of
every container, with its labels) into a file that Prometheus re-reads; the relabelling is the example's own.
Format: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#kubernetes_sd_config.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from t2i_dev.cluster import LocalCluster
from t2i_dev.paths import repository_root

REFRESH_SECONDS = 1.0
EXAMPLE = repository_root() / "examples" / "prometheus.yml"


def scrape_configs(targets: Path) -> list[dict[str, Any]]:
    """The example's scrape jobs, which read the targets from a file; Prometheus watches it for changes."""
    configs: list[dict[str, Any]] = yaml.safe_load(EXAMPLE.read_text())["scrape_configs"]
    for config in configs:
        del config["kubernetes_sd_configs"]
        config["file_sd_configs"] = [{"files": [str(targets)], "refresh_interval": "5s"}]
    return configs


@contextmanager
def discovered_pods(cluster: LocalCluster, targets: Path) -> Iterator[None]:
    """Keep the file current until the block ends."""
    targets.parent.mkdir(parents=True, exist_ok=True)
    write_targets(cluster, targets)
    done = threading.Event()

    def follow() -> None:
        while not done.wait(REFRESH_SECONDS):
            write_targets(cluster, targets)

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()


def write_targets(cluster: LocalCluster, targets: Path) -> None:
    """Write the pods that have an address; while the API server does not answer, the old file stays."""
    answer = cluster.client.get("/api/v1/pods")
    if answer is None:
        return
    groups = [group for pod in answer["items"] for group in target_groups(pod)]
    text = json.dumps(groups)
    if not targets.exists() or targets.read_text() != text:
        fresh = targets.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(targets)


def target_groups(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Every port of a pod as a target with the labels that Kubernetes discovery gives it; none without an address."""
    address = pod["status"].get("podIP")
    if address is None:
        return []
    about = {
        "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
        "__meta_kubernetes_pod_name": pod["metadata"]["name"],
        "__meta_kubernetes_pod_phase": pod["status"].get("phase", "Unknown"),
    }
    for name, value in pod["metadata"].get("labels", {}).items():
        about[f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}"] = value
    return [
        {
            "targets": [f"{address}:{port['containerPort']}"],
            "labels": {**about, "__meta_kubernetes_pod_container_port_name": port.get("name", "")},
        }
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    ]
