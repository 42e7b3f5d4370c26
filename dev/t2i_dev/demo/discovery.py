"""Finds what Prometheus scrapes. Debian builds it without Kubernetes discovery, so this writes the file it re-reads.

Follows the usual annotations, `prometheus.io/scrape` and `prometheus.io/port`, as clusters' Prometheus servers do.
Format: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from t2i_dev.cluster import LocalCluster

REFRESH_SECONDS = 1.0


def scrape_configs(targets: Path) -> list[dict[str, Any]]:
    """The section of prometheus.yml that reads the targets; Prometheus watches the file for changes."""
    return [{"job_name": "pods", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "5s"}]}]


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
    """Write the running pods that want to be scraped; while the API server does not answer, the old file stays."""
    answer = cluster.client.get("/api/v1/pods?fieldSelector=status.phase=Running")
    if answer is None:
        return
    groups = [group for pod in answer["items"] if (group := target_group(pod)) is not None]
    text = json.dumps(groups)
    if not targets.exists() or targets.read_text() != text:
        fresh = targets.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(targets)


def target_group(pod: dict[str, Any]) -> dict[str, Any] | None:
    """One pod as a target, or None if it does not ask to be scraped."""
    annotations = pod["metadata"].get("annotations", {})
    address = pod["status"].get("podIP")
    if annotations.get("prometheus.io/scrape") != "true" or address is None:
        return None
    labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
    return {"targets": [f"{address}:{annotations.get('prometheus.io/port', '80')}"], "labels": labels}
