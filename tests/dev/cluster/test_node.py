"""Pods on the real kubelet and containerd. Needs root on Linux; elsewhere `require` says what is missing."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from t2i_dev.cluster import LocalCluster
from t2i_dev.cluster.container_runtime import ctr
from t2i_dev.cluster.local_cluster import stop_cluster
from t2i_dev.cluster.machine import KUBELET_SETTINGS
from t2i_dev.images.base import ensure_base_image
from t2i_dev.images.build import ImageSource, build_image
from t2i_dev.images.load import load_images
from t2i_dev.processes import wait_until
from t2i_dev.progress import Progress
from t2i_dev.s3_server import REGION

pytestmark = pytest.mark.cluster

IMAGE = "localhost/t2i-dev-test:1"
QUIET = Progress(quiet=True)
PUT = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], data=b"from a pod", method="PUT")
print(urllib.request.urlopen(request).status)
"""
SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ImageSource:
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY code.py /code.py\nUSER 1000:1000\n")
    (context / "code.py").write_text("print('first')\n")
    return ImageSource(IMAGE, context / "Dockerfile", context, {"BASE_IMAGE": ensure_base_image(QUIET)})


@pytest.fixture(scope="module")
def cluster(local_cluster: LocalCluster, source: ImageSource) -> LocalCluster:
    load_images(local_cluster, [build_image(source, QUIET)], QUIET)
    return local_cluster


def job(name: str, command: list[str], **container: Any) -> str:
    spec = {"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": command, **container}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [spec]}
    document = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
    return json.dumps(document)


def finish(cluster: LocalCluster, manifest: str) -> str:
    name = json.loads(manifest)["metadata"]["name"]
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    cluster.kubectl("wait", "--for=condition=complete", f"job/{name}", "--timeout=60s")
    return cluster.kubectl("logs", f"job/{name}")


def wait_for_a_ready_pod(cluster: LocalCluster, name: str) -> None:
    # Not `wait pod -l`: it fails at once while the Job controller has made no pod yet (seen in CI).
    cluster.kubectl("wait", "--for=jsonpath={.status.ready}=1", f"job/{name}", "--timeout=60s")


def pod_of(cluster: LocalCluster, name: str) -> dict[str, Any]:
    (pod,) = json.loads(cluster.kubectl("get", "pods", "-l", f"job-name={name}", "-o", "json"))["items"]
    return dict(pod)


def test_a_pod_runs_and_finishes(cluster: LocalCluster) -> None:
    assert finish(cluster, job("hello", ["python", "-c", "import os; print(os.getuid())"])) == "1000\n"


def test_host_and_pods_share_one_s3_endpoint(cluster: LocalCluster) -> None:
    s3 = cluster.s3
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name=REGION,
        config=Config(signature_version="s3v4"),
    )
    url = client.generate_presigned_url("put_object", {"Bucket": s3.bucket, "Key": "pod"})
    assert finish(cluster, job("put", ["python", "-c", PUT, url])) == "200\n"
    assert client.get_object(Bucket=s3.bucket, Key="pod")["Body"].read() == b"from a pod"


def test_pods_find_services_by_name_and_the_host_reaches_pods(cluster: LocalCluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=job("serve", ["python", "-c", SERVE]))
    wait_for_a_ready_pod(cluster, "serve")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"job-name": "serve"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(service))
    fetch = (
        "import time, urllib.request\nfor _ in range(100):\n"
        "    try: print(urllib.request.urlopen('http://web.default.svc').status); break\n"
        "    except OSError: time.sleep(0.1)\n"
    )
    assert finish(cluster, job("fetch", ["python", "-c", fetch])) == "200\n"
    address = pod_of(cluster, "serve")["status"]["podIP"]
    code = subprocess.run(
        ["curl", "--noproxy", "*", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{address}:8000/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert code.stdout == "200"
    cluster.kubectl("delete", "job/serve", "service/web", "--cascade=foreground")


def test_the_scheduler_counts_gpus(cluster: LocalCluster) -> None:
    gpus = {"limits": {"nvidia.com/gpu": "6"}}
    sleep = ["sleep", "60"]
    cluster.kubectl("apply", "-f", "-", stdin=job("first", sleep, resources=gpus))
    wait_for_a_ready_pod(cluster, "first")
    cluster.kubectl("apply", "-f", "-", stdin=job("second", sleep, resources=gpus))

    def refused() -> bool:
        conditions = pod_of(cluster, "second")["status"].get("conditions", [])
        return any("Insufficient nvidia.com/gpu" in each.get("message", "") for each in conditions)

    wait_until(refused, "the refusal", timeout_seconds=30, poll_seconds=0.2)
    cluster.kubectl("delete", "job", "first", "--cascade=foreground")
    wait_for_a_ready_pod(cluster, "second")
    cluster.kubectl("delete", "job", "second", "--cascade=foreground")


def test_gpus_outlive_the_kubelets_own_status_updates_and_its_restart(cluster: LocalCluster) -> None:
    def gpus() -> str:
        return cluster.kubectl("get", "node", "-o", r"jsonpath={.items[0].status.allocatable.nvidia\.com/gpu}")

    def images() -> str:
        return cluster.kubectl("get", "node", "-o", "jsonpath={.items[0].status.images[*].names}")

    cluster.restart("kubelet")
    assert gpus() == "8"
    # A new image name makes the kubelet write its status, at the next of its 10 s periods.
    assert cluster.containerd_socket is not None
    ctr(cluster.containerd_socket, "images", "tag", IMAGE, "localhost/t2i-dev-test:alias")
    wait_until(lambda: "t2i-dev-test:alias" in images(), "a status update", timeout_seconds=90, poll_seconds=0.5)
    assert gpus() == "8"
    ctr(cluster.containerd_socket, "images", "delete", "localhost/t2i-dev-test:alias")


def test_changed_code_reaches_pods_without_a_new_tag(cluster: LocalCluster, source: ImageSource) -> None:
    assert finish(cluster, job("before", ["python", "/code.py"])) == "first\n"
    (source.context / "code.py").write_text("print('second')\n")
    load_images(cluster, [build_image(source, QUIET)], QUIET)
    assert finish(cluster, job("after", ["python", "/code.py"])) == "second\n"


@pytest.fixture
def own_name() -> Iterator[str]:
    name = f"test-2nd-{os.getpid()}"
    yield name
    stop_cluster(name)


def test_a_second_node_cluster_runs_beside_it_and_leaves_nothing(cluster: LocalCluster, own_name: str) -> None:
    def settings() -> list[str]:
        return [Path("/proc/sys", name).read_text() for name in KUBELET_SETTINGS]

    while_first_runs, namespaces = settings(), set(Path("/run/netns").iterdir())
    second = LocalCluster.start(own_name)
    assert second.network is not None
    load_images(second, [IMAGE], QUIET)
    second.kubectl("apply", "-f", "-", stdin=job("running", ["sleep", "60"]))
    wait_for_a_ready_pod(second, "running")
    processes = [each.process for each in second.components()]
    traces = _traces(second)
    assert all(traces.values()), "each kind of trace is seen while the cluster runs"

    second.stop()

    assert not any(each.alive for each in processes)
    assert not any(_traces(second).values())
    assert set(Path("/run/netns").iterdir()) == namespaces
    assert settings() == while_first_runs, "the last cluster to go restores the kernel's settings, not this one"
    assert finish(cluster, job("still-there", ["true"])) == ""


def _traces(cluster: LocalCluster) -> dict[str, list[str]]:
    """Everything on the machine that names the cluster's directory or its slot."""
    network = cluster.network
    assert network is not None
    directory = str(cluster.directory)

    def containing(text: str, lines: list[str]) -> list[str]:
        return [line for line in lines if text in line]

    links = Path("/var/log/containers")
    logs = [str(link.readlink()) for link in links.iterdir()] if links.is_dir() else []
    addresses = subprocess.run(["ip", "route", "show"], capture_output=True, text=True, check=True).stdout.splitlines()
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{network.cgroup[1:]}")]
    cgroups += [str(path) for path in Path("/sys/fs/cgroup").glob(network.cgroup[1:])]
    return {
        "directory": [directory] if cluster.directory.exists() else [],
        "mounts": containing(directory, Path("/proc/self/mounts").read_text().splitlines()),
        "routes": containing(network.host_interface, addresses),
        "namespace": [str(path) for path in Path("/run/netns").glob(network.namespace)],
        "cgroups": cgroups,
        "log links": containing(directory, logs),
        "pod networks": [str(path) for path in Path("/var/lib/cni/results").glob(f"{network.namespace}-*")],
    }
