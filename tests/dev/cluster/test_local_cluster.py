import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from t2i_dev.cluster import LocalCluster, register
from t2i_dev.cluster.local_cluster import failed_logs, remove_orphans, stop_cluster
from t2i_dev.cluster.state import CLUSTER_VARIABLE
from t2i_dev.errors import ClusterStateError, ComponentFailedError
from t2i_dev.paths import clusters_directory
from t2i_dev.processes import ProcessIdentity, spawn

pytestmark = pytest.mark.cluster

CONFIG_MAP = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "%s"}}'


def audited(cluster: LocalCluster) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]


@pytest.fixture
def own_name() -> Iterator[str]:
    name = f"test-own-{os.getpid()}"
    yield name
    stop_cluster(name)
    shutil.rmtree(failed_logs(name), ignore_errors=True)


def test_objects_are_served_and_the_default_service_account_exists(control_plane: LocalCluster) -> None:
    control_plane.kubectl("create", "namespace", "served")
    control_plane.kubectl("apply", "-n", "served", "-f", "-", stdin=CONFIG_MAP % "a")
    assert control_plane.kubectl("get", "configmap", "a", "-n", "served", "-o", "name").strip() == "configmap/a"
    assert "default" in control_plane.kubectl("get", "serviceaccount", "-n", "default")


def test_a_refusal_carries_kubectls_words(control_plane: LocalCluster) -> None:
    with pytest.raises(ComponentFailedError, match='configmaps "missing" not found'):
        control_plane.kubectl("get", "configmap", "missing")


def test_the_audit_log_tells_in_which_order_objects_were_created(control_plane: LocalCluster) -> None:
    control_plane.kubectl("create", "namespace", "audited")
    for name in ("z", "a", "m"):
        control_plane.kubectl("apply", "-n", "audited", "-f", "-", stdin=CONFIG_MAP % name)
    created = [
        event["objectRef"]["name"]
        for event in audited(control_plane)
        if event["verb"] in {"create", "patch"} and event["objectRef"].get("namespace") == "audited"
        if event["objectRef"]["resource"] == "configmaps" and event["objectRef"].get("name") in {"z", "a", "m"}
    ]
    assert created == ["z", "a", "m"]


def test_the_audit_log_holds_the_bodies_of_jobs(control_plane: LocalCluster) -> None:
    control_plane.kubectl("create", "namespace", "jobs")
    control_plane.kubectl("create", "job", "body", "--image=localhost/none", "-n", "jobs")
    (event,) = [
        event
        for event in audited(control_plane)
        if event["verb"] == "create" and event.get("objectRef", {}).get("resource") == "jobs"
    ]
    assert event["requestObject"]["metadata"]["name"] == "body"


def test_starting_a_running_cluster_returns_it(control_plane: LocalCluster) -> None:
    again = LocalCluster.start(control_plane.name, node=False)
    assert again == LocalCluster.attach(control_plane.name)
    assert again.api_server == control_plane.api_server


def test_a_running_cluster_is_not_turned_into_another_kind(control_plane: LocalCluster) -> None:
    with pytest.raises(ClusterStateError, match=r"already runs in .* without a node"):
        LocalCluster.start(control_plane.name, node=True)


def test_the_api_server_comes_back_after_a_crash(control_plane: LocalCluster) -> None:
    control_plane.kubectl("create", "namespace", "crash")
    control_plane.kill("kube-apiserver")
    with pytest.raises(ComponentFailedError):
        control_plane.kubectl("get", "namespaces")
    control_plane.restart("kube-apiserver")
    assert "crash" in control_plane.kubectl("get", "namespaces")


def test_stopping_leaves_nothing(control_plane: LocalCluster, own_name: str) -> None:
    """Side by side with another, which goes on."""
    cluster = LocalCluster.start(own_name, node=False)
    assert cluster.api_server != control_plane.api_server
    assert cluster.s3.endpoint != control_plane.s3.endpoint
    processes = [each.process for each in cluster.components()]
    assert len(processes) == 5
    cluster.stop()
    assert not any(each.alive for each in processes)
    assert not cluster.directory.exists()
    assert register.find(own_name) is None
    assert control_plane.client.ready()
    with pytest.raises(ClusterStateError, match=f"no cluster {own_name} runs"):
        LocalCluster.attach(own_name)


def test_what_a_crash_left_is_replaced_by_a_fresh_cluster(own_name: str) -> None:
    first = LocalCluster.start(own_name, node=False)
    first.kubectl("create", "namespace", "old")
    first.kill("etcd")
    leftovers = [each.process for each in first.components()]
    second = LocalCluster.start(own_name, node=False)
    assert not any(each.alive for each in leftovers)
    assert "old" not in second.kubectl("get", "namespaces")


@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0])
def test_a_start_that_was_killed_at_any_point_is_cleaned_up(own_name: str, seconds: float) -> None:
    command = [sys.executable, "-c", "from t2i_dev.main import app; app()", "cluster", "up", "--no-node"]
    starting = subprocess.Popen([*command, "--name", own_name], stderr=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(seconds)
    starting.kill()
    starting.wait()
    stop_cluster(own_name)
    assert register.find(own_name) is None
    assert not (clusters_directory() / own_name).exists()
    assert not _marked(own_name)


def test_a_process_that_was_never_recorded_is_stopped_too(own_name: str) -> None:
    """A start that is killed between a process and its record."""
    cluster = LocalCluster.start(own_name, node=False)
    stray = spawn(
        ["sleep", "60"], log=cluster.directory / "log", environment={CLUSTER_VARIABLE: str(cluster.directory)}
    )
    (cluster.directory / "cluster.json").unlink()
    assert stop_cluster(own_name)
    assert not stray.alive
    assert not cluster.directory.exists()


def test_a_cluster_whose_test_run_was_killed_is_removed_by_the_next(tmp_path: Path, own_name: str) -> None:
    owner = spawn(["sleep", "60"], log=tmp_path / "log")
    directory = tmp_path / "c"
    directory.mkdir()
    with register.register_locked():
        register.add(register.Registration(name=own_name, directory=directory, slot=None, owner=owner))
    remove_orphans()
    assert register.find(own_name) is not None, "the owner lives"
    owner.stop(signal.SIGKILL)
    remove_orphans()
    assert register.find(own_name) is None


def test_a_component_that_does_not_come_up_is_reported_and_nothing_stays(
    own_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ["sh", "-c", "echo this flag is wrong; exit 1"]
    monkeypatch.setattr("t2i_dev.cluster.control_plane.api_server", lambda *_: broken)
    with pytest.raises(ComponentFailedError, match=r"API server: the process ended(.*\n)*.*this flag is wrong"):
        LocalCluster.start(own_name, node=False)
    assert register.find(own_name) is None
    assert not _marked(own_name)
    assert "this flag is wrong" in (failed_logs(own_name) / "kube-apiserver.log").read_text()


def test_a_directory_with_something_in_it_is_refused_and_kept(
    tmp_path_factory: pytest.TempPathFactory, own_name: str
) -> None:
    directory = tmp_path_factory.mktemp("d")
    precious = directory / "precious"
    precious.write_text("data")
    with pytest.raises(ClusterStateError, match="is not empty: a cluster needs a directory of its own"):
        LocalCluster.start(own_name, directory=directory, node=False)
    assert precious.read_text() == "data"


def test_a_directory_too_long_for_sockets_is_refused(tmp_path: Path, own_name: str) -> None:
    with pytest.raises(ClusterStateError, match="choose a shorter one with --directory"):
        LocalCluster.start(own_name, directory=tmp_path / ("x" * 80), node=False)


def _marked(name: str) -> list[ProcessIdentity]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(CLUSTER_VARIABLE, "").endswith(f"/{name}"):
                found.append(ProcessIdentity.of(process.pid))
        except (psutil.Error, OSError):
            continue
    return found
