"""Fixtures that every part's tests share: a real S3 server, API server and cluster, each started when first asked for.

Under pytest-xdist every worker has its own; a test run that is killed leaves clusters that the next one removes.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from t2i_dev.cluster import LocalCluster
from t2i_dev.paths import repository_root
from t2i_dev.processes import wait_until
from t2i_dev.s3_server import S3Server

# Folders whose files share a fixture that takes a minute or more.
TOLD_ONCE = ("tests/end_to_end/story/", "tests/trainer/resume/")

# An example's time says how busy the machine is, not whether the code is right.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is untyped
    """Keeps each file's tests in one process, and those of a folder whose files share a costly fixture."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOLD_ONCE if file.startswith(folder)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """https://pytest-xdist.readthedocs.io/en/stable/; its own `loadgroup` does nothing under pytest 9.2."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def cluster_name() -> Callable[[str], str]:
    """Return the name of this process's cluster of a kind."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return lambda kind: f"test-{kind}-{worker}-{os.getpid()}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A versitygw on a free loopback port with a bucket `t2i`; tests keep apart by a key prefix of their own."""
    with S3Server.start(Path(tmp_path_factory.mktemp("s3"))) as server:
        yield server


@pytest.fixture(scope="session")
def control_plane(cluster_name: Callable[[str], str]) -> Iterator[LocalCluster]:
    """API server, controllers, scheduler and S3 server without a node; tests keep apart by namespaces of their own."""
    with LocalCluster.start(cluster_name("api"), node=False, with_owner=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def crd(control_plane: LocalCluster) -> LocalCluster:
    """The control plane with the custom resource installed; whoever installs another version puts this one back."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(repository_root() / "crds"))
    # `kubectl wait` fails while the new CRD has no conditions yet.
    served = "/apis/training.t2i.dev/v1alpha1/diffusiontrainingjobs"
    wait_until(lambda: control_plane.client.get(served) is not None, "the new kind", timeout_seconds=60)
    return control_plane


@pytest.fixture(scope="session")
def local_cluster(cluster_name: Callable[[str], str]) -> Iterator[LocalCluster]:
    """The full cluster, which runs pods; tests keep apart by namespaces of their own."""
    with LocalCluster.start(cluster_name("node"), with_owner=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def process_cluster(cluster_name: Callable[[str], str]) -> Iterator[LocalCluster]:
    """A control plane with the node that runs pods as plain processes."""
    with LocalCluster.start(cluster_name("processes"), node=False, with_owner=True) as cluster:
        cluster.add_process_node()
        yield cluster
