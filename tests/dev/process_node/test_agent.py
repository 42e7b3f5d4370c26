"""The process node on a real control plane: the scheduler places pods on it, the API server sees how they end."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from t2i_dev.cluster import LocalCluster

pytestmark = pytest.mark.cluster
SECONDS = 30.0


@pytest.fixture(scope="module")
def cluster(process_cluster: LocalCluster) -> LocalCluster:
    return process_cluster


def pod(name: str, script: str, **container: Any) -> dict[str, Any]:
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": "any", "command": ["sh", "-c", script], **container}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def apply(cluster: LocalCluster, document: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def get(cluster: LocalCluster, name: str) -> dict[str, Any] | None:
    text = cluster.kubectl("get", "pod", name, "--ignore-not-found", "-o", "json")
    return dict(json.loads(text)) if text else None


def eventually(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"did not happen within {SECONDS} s: {what}"
        time.sleep(0.1)
    return found


def ended(cluster: LocalCluster, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = get(cluster, name)
        return found if found and found["status"].get("phase") in {"Succeeded", "Failed"} else None

    found: dict[str, Any] = eventually(look, f"{name} ends")
    return found


def terminated(found: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = found["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


def test_exit_status_and_termination_message_reach_the_api_server(cluster: LocalCluster) -> None:
    apply(cluster, pod("speaks", "printf 'last words' > /dev/termination-log; exit 21"))
    found = ended(cluster, "speaks")
    assert (found["status"]["phase"], terminated(found)["exitCode"]) == ("Failed", 21)
    assert terminated(found)["message"] == "last words"


def test_config_map_secret_and_empty_directory_are_mounted(cluster: LocalCluster) -> None:
    for kind, field in (("ConfigMap", "data"), ("Secret", "stringData")):
        apply(cluster, {"apiVersion": "v1", "kind": kind, "metadata": {"name": "given"}, field: {"key": f"of {kind}"}})
    document = pod(
        "mounts",
        "cat /etc/config/key /etc/secret/key > /work/both && cp /work/both /dev/termination-log && test $PLACE = /work",
        volumeMounts=[
            {"name": "config", "mountPath": "/etc/config"},
            {"name": "secret", "mountPath": "/etc/secret"},
            {"name": "work", "mountPath": "/work"},
        ],
        env=[{"name": "PLACE", "value": "/work"}],
    )
    document["spec"]["volumes"] = [
        {"name": "config", "configMap": {"name": "given"}},
        {"name": "secret", "secret": {"secretName": "given"}},
        {"name": "work", "emptyDir": {}},
    ]
    apply(cluster, document)
    found = ended(cluster, "mounts")
    assert found["status"]["phase"] == "Succeeded", found["status"]
    assert terminated(found)["message"] == "of ConfigMapof Secret"


def test_a_missing_secret_keeps_the_pod_waiting_until_it_is_there(cluster: LocalCluster) -> None:
    apply(cluster, pod("waits", "exit 0", envFrom=[{"secretRef": {"name": "later"}}]))

    def reason() -> bool:
        found = get(cluster, "waits") or {"status": {}}
        states = found["status"].get("containerStatuses", [{"state": {}}])
        return bool(states[0]["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError")

    eventually(reason, "the pod waits")
    apply(cluster, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"}})
    assert ended(cluster, "waits")["status"]["phase"] == "Succeeded"


def running(cluster: LocalCluster, name: str) -> bool:
    found = get(cluster, name) or {"status": {}}
    return bool(found["status"].get("phase") == "Running")


@pytest.mark.parametrize(
    ("name", "script", "grace", "slowest"),
    [
        ("obeys", "trap 'exit 0' TERM; touch ready; while :; do sleep 0.1; done", 30, 10.0),
        ("ignores", "trap '' TERM; while :; do sleep 0.1; done", 2, 12.0),
    ],
)
def test_deletion_asks_first_and_kills_after_the_grace(
    cluster: LocalCluster, name: str, script: str, grace: int, slowest: float
) -> None:
    document = pod(name, script)
    document["spec"]["terminationGracePeriodSeconds"] = grace
    apply(cluster, document)
    eventually(lambda: running(cluster, name), f"{name} runs")
    time.sleep(0.5)  # the shell sets its trap
    before = time.monotonic()
    cluster.kubectl("delete", "pod", name, "--wait=true", "--timeout=30s")
    assert time.monotonic() - before < slowest


def test_an_indexed_jobs_pods_find_each_other_by_name(cluster: LocalCluster) -> None:
    script = (
        "import os, socket, sys, time\n"
        "index, host = os.environ['JOB_COMPLETION_INDEX'], os.environ['PEER']\n"
        "if index == '0':\n"
        "    listening = socket.create_server((host, 29777)); listening.accept(); sys.exit(0)\n"
        "for _ in range(100):\n"
        "    try: socket.create_connection((host, 29777)); sys.exit(0)\n"
        "    except OSError: time.sleep(0.1)\n"
        "sys.exit(1)\n"
    )
    template = pod("unused", "")["spec"]
    template["subdomain"] = "pair"
    template["containers"][0] |= {
        "command": ["python3", "-c", script],
        "env": [{"name": "PEER", "value": "pair-0.pair"}],
    }
    spec = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimit": 0}
    apply(
        cluster,
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "pair"},
            "spec": {**spec, "template": {"spec": template}},
        },
    )
    cluster.kubectl("wait", "--for=condition=Complete", "job/pair", "--timeout=40s")
