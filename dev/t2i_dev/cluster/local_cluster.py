"""The handle of a local cluster: start it, find it again, break and mend its parts, stop it."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from t2i_dev.cluster import register, state
from t2i_dev.cluster.api_client import ApiClient
from t2i_dev.cluster.launch import S3_COMPONENT, Launch, advertise_gpus, node_ready, tools_for
from t2i_dev.cluster.layout import Files, NodeNetwork
from t2i_dev.cluster.machine import save_settings
from t2i_dev.cluster.network import free_network
from t2i_dev.cluster.node import PROCESS_NODE_NAME
from t2i_dev.cluster.requirements import require
from t2i_dev.cluster.teardown import remove_cluster
from t2i_dev.errors import ClusterStateError, ComponentFailedError
from t2i_dev.paths import clusters_directory
from t2i_dev.processes import ProcessIdentity, spawn, wait_until
from t2i_dev.progress import Progress
from t2i_dev.s3_server import DEFAULT_BUCKET, S3Server
from t2i_dev.tools import HELM, KUBERNETES, ensure_tools

DEFAULT_NAME = "dev"
PROCESS_NODE = "process-node"
RESTART_TIMEOUT_SECONDS = 60.0
# Unix sockets below the directory must fit into 107 bytes (unix(7)); the longest that the kubelet makes takes 36.
LONGEST_DIRECTORY = 70


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A running cluster. Without a node it is a control plane: objects, controllers and a scheduler, but no pods."""

    name: str
    directory: Path
    kubeconfig: Path
    api_server: str
    audit_log: Path  # JSON lines, audit.k8s.io/v1 Event, in the order in which requests were completed
    log_directory: Path
    s3: S3Server  # the same endpoint for the host and for pods
    network: NodeNetwork | None
    containerd_socket: Path | None

    @classmethod
    def start(
        cls,
        name: str = DEFAULT_NAME,
        *,
        directory: Path | None = None,
        node: bool = True,
        with_owner: bool = False,
        progress: Progress | None = None,
    ) -> Self:
        """Start the cluster, or return it when it runs already; what a crash left of it is removed first.

        `node=False` starts the control plane alone, on loopback ports and without root. `with_owner` ties the
        cluster to this process: once that is gone, the next start of any cluster removes it.

        Raises `MissingRequirementError` when the machine cannot run it, `ClusterStateError` when name, directory or
        slot is taken, and `ComponentFailedError` with the end of the log when a component does not come up; nothing
        is left running then.
        """
        progress = progress or Progress(quiet=True)
        require(node=node)
        ensure_tools(tools_for(with_node=node), progress)
        remove_orphans()
        with register.name_locked(name):
            directory = _checked(directory or clusters_directory() / name)
            existing = register.find(name)
            if existing is not None:
                current = state.load(existing.directory)
                same = existing.directory == directory and (existing.slot is not None) == node
                if current is not None and current.alive and same:
                    return cls._of(current)
                if current is not None and current.alive:
                    kind = "without" if existing.slot is None else "with"
                    raise ClusterStateError(
                        f"the cluster {name} already runs in {existing.directory} {kind} a node; "
                        f"stop it first: t2i-dev cluster down --name {name}"
                    )
                with progress.stage(f"remove what is left of {name}"):
                    remove_cluster(existing)
            registration = _claim(name, directory, node=node, with_owner=with_owner)
            return cls._of(_launch(registration, progress))

    @classmethod
    def attach(cls, name: str = DEFAULT_NAME) -> Self:
        """The running cluster of that name. Raises `ClusterStateError` when there is none."""
        registration = register.find(name)
        current = state.load(registration.directory) if registration else None
        if current is None or not current.ready:
            raise ClusterStateError(f"no cluster {name} runs; start it: t2i-dev cluster up --name {name}")
        return cls._of(current)

    @classmethod
    def _of(cls, current: state.ClusterState) -> Self:
        files = Files(current.directory)
        s3 = current.component(S3_COMPONENT)
        network = None if current.slot is None else NodeNetwork(current.slot)
        return cls(
            name=current.name,
            directory=current.directory,
            kubeconfig=files.kubeconfig,
            api_server=current.addresses.url,
            audit_log=files.audit_log,
            log_directory=files.logs,
            s3=S3Server(
                endpoint=current.s3_endpoint,
                access_key=current.s3_access_key,
                secret_key=current.s3_secret_key,
                bucket=DEFAULT_BUCKET,
                directory=current.directory / "s3",
                process=s3.process,
                argv=s3.argv,
                marks={state.CLUSTER_VARIABLE: str(current.directory)},
            ),
            network=network,
            containerd_socket=files.containerd_socket if network else None,
        )

    @property
    def client(self) -> ApiClient:
        """Plain requests as administrator."""
        return ApiClient(Files(self.directory), self.api_server)

    def environment(self) -> dict[str, str]:
        """Variables with which kubectl, helm, boto3 and our own programs use this cluster and its S3 server."""
        tools = os.pathsep.join(str(tool.directory) for tool in (KUBERNETES, HELM))
        path = os.pathsep.join([tools, os.environ.get("PATH", "")])
        return {"KUBECONFIG": str(self.kubeconfig), **self.s3.environment(), "PATH": path}

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator; returns its output. Raises `ComponentFailedError` with its words."""
        command = [str(KUBERNETES.directory / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise ComponentFailedError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def components(self) -> tuple[state.Component, ...]:
        """Every process with its command line, as recorded."""
        current = state.load(self.directory)
        return current.components if current else ()

    def kill(self, component: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """End one component, e.g. `kube-apiserver` or `s3`: what its crash looks like."""
        self._current().component(component).process.stop(sig)

    def add_process_node(self) -> None:
        """Give a control plane without a node one that runs pods as processes; harmless when it has one already."""
        with register.name_locked(self.name):
            current = self._current()
            if any(each.name == PROCESS_NODE and each.process.alive for each in current.components):
                return
            arguments = ("--directory", str(self.directory), "--url", self.api_server)
            argv = (sys.executable, "-m", "t2i_dev.process_node.agent", *arguments)
            marks = {state.CLUSTER_VARIABLE: str(self.directory)}
            log = Files(self.directory).log(PROCESS_NODE)
            process = spawn(argv, log=log, environment=marks)
            component = state.Component(name=PROCESS_NODE, argv=argv, environment=marks, process=process)
            state.save(current.with_component(component))
        wait_until(
            lambda: node_ready(self.client, PROCESS_NODE_NAME),
            "process node",
            timeout_seconds=RESTART_TIMEOUT_SECONDS,
            process=process,
            log=log,
        )

    def restart(self, component: str) -> None:
        """Start one component (killed or not) with its former command line, and wait until the cluster answers."""
        with register.name_locked(self.name):
            current = self._current()
            old = current.component(component)
            old.process.stop()
            log = Files(self.directory).log(component)
            process = spawn(old.argv, log=log, environment=old.environment)
            state.save(current.with_component(old.model_copy(update={"process": process})))
        if component == S3_COMPONENT:
            self.s3.wait_ready()
        wait_until(self.client.ready, "API server", timeout_seconds=RESTART_TIMEOUT_SECONDS)
        if component == "kubelet":
            wait_until(lambda: node_ready(self.client), "node", timeout_seconds=RESTART_TIMEOUT_SECONDS)
            advertise_gpus(self.client)

    def stop(self) -> None:
        """Stop and remove the cluster with all its data (2-3 s)."""
        stop_cluster(self.name)

    def _current(self) -> state.ClusterState:
        current = state.load(self.directory)
        if current is None:
            raise ClusterStateError(f"the cluster {self.name} was stopped")
        return current

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def stop_cluster(name: str, *, keep_logs: Path | None = None) -> bool:
    """Stop and remove the cluster of that name, whatever state it is in; False when there is none."""
    with register.name_locked(name):
        registration = register.find(name)
        if registration is None:
            return False
        remove_cluster(registration, keep_logs=keep_logs)
        return True


def failed_logs(name: str) -> Path:
    """Where the logs of a start that failed are kept, until the next failure."""
    return clusters_directory() / f"{name}-failed-logs"


def remove_orphans() -> None:
    """Remove clusters whose owner (a test run) is gone."""
    for each in register.registrations():
        if each.owner is not None and not each.owner.alive:
            stop_cluster(each.name)


def _checked(directory: Path) -> Path:
    directory = directory.resolve()
    if len(os.fsencode(directory)) > LONGEST_DIRECTORY:
        raise ClusterStateError(
            f"{directory} has {len(os.fsencode(directory))} bytes, but sockets below it leave room for "
            f"{LONGEST_DIRECTORY}: choose a shorter one with --directory"
        )
    return directory


def _claim(name: str, directory: Path, *, node: bool, with_owner: bool) -> register.Registration:
    owner = ProcessIdentity.of(os.getpid()) if with_owner else None
    with register.register_locked():
        slot = None
        if node:
            slot = free_network({each.slot for each in register.registrations() if each.slot is not None}).slot
            save_settings()
        if directory.exists() and any(directory.iterdir()):
            raise ClusterStateError(f"{directory} is not empty: a cluster needs a directory of its own")
        registration = register.Registration(name=name, directory=directory, slot=slot, owner=owner)
        register.add(registration)
    directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    return registration


def _launch(registration: register.Registration, progress: Progress) -> state.ClusterState:
    try:
        return Launch.of(registration, progress).run()
    except BaseException as error:
        logs = failed_logs(registration.name)
        shutil.rmtree(logs, ignore_errors=True)
        remove_cluster(registration, keep_logs=logs)
        if isinstance(error, ComponentFailedError):
            raise ComponentFailedError(f"{error}\nall logs of the failed start: {logs}") from error
        raise
