"""What Prometheus finds in a cluster, and what the example's relabelling makes of it."""

import json
from pathlib import Path
from typing import Any

from t2i_api.attempt import METRICS_PORT, labels
from t2i_dev.demo.discovery import scrape_configs, target_groups
from t2i_dev.ports import free_ports
from t2i_dev.processes import wait_until
from t2i_dev.prometheus import Prometheus

TRAINER: dict[str, Any] = {
    "metadata": {"namespace": "team", "name": "emoji-2-0-x7k2p", "labels": labels("emoji", 2)},
    "spec": {"containers": [{"ports": [{"name": "metrics", "containerPort": METRICS_PORT}]}]},
    "status": {"podIP": "10.0.0.1", "phase": "Running"},
}


def test_every_port_of_a_pod_with_an_address_is_a_target_with_its_labels() -> None:
    (group,) = target_groups(TRAINER)

    assert group["targets"] == ["10.0.0.1:9400"]
    assert group["labels"]["__meta_kubernetes_pod_label_training_t2i_dev_job_name"] == "emoji"
    assert target_groups({**TRAINER, "status": {"phase": "Pending"}}) == []


def test_the_example_names_trainers_as_the_operator_names_their_job_and_scrapes_nothing_else(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    over = {**TRAINER, "status": {"podIP": "10.0.0.2", "phase": "Succeeded"}}
    groups = [*target_groups(TRAINER), *target_groups(over), {"labels": {"__meta_kubernetes_pod_name": "stranger"}}]
    targets = tmp_path / "targets.json"
    targets.write_text(json.dumps([{**group, "targets": [f"127.0.0.1:{port}"]} for group in groups]))

    with Prometheus.start(tmp_path / "prometheus", scrape_configs(targets)) as prometheus:
        wait_until(lambda: bool(prometheus.query("up")), "a scrape", timeout_seconds=20)
        (up,) = prometheus.query("up")

    told = {name: up.labels[name] for name in ("job_namespace", "job_name", "attempt", "namespace", "pod")}
    assert told == {
        "job_namespace": "team",
        "job_name": "emoji",
        "attempt": "2",
        "namespace": "team",
        "pod": "emoji-2-0-x7k2p",
    }
