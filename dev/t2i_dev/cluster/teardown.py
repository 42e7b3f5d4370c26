"""Stop exactly what a cluster started and leave nothing behind, whatever state it is in.

Works from the directory and slot alone, so it also cleans up after a start that was killed at any point.
"""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil

from t2i_dev.cluster import container_runtime, machine, network, state
from t2i_dev.cluster.layout import Files, NodeNetwork
from t2i_dev.cluster.register import Registration, register_locked, registrations
from t2i_dev.cluster.register import remove as unregister
from t2i_dev.errors import ComponentFailedError
from t2i_dev.processes import ProcessIdentity, wait_gone

CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOG_LINKS = Path("/var/log/containers")
STOP_TIMEOUT_SECONDS = 10.0


def remove_cluster(registration: Registration, *, keep_logs: Path | None = None) -> None:
    """Stop and delete everything of this cluster, its registration last. Repeatable when killed half-way."""
    files = Files(registration.directory)
    if registration.slot is None:
        _kill_marked(files, lambda _: True)
    else:
        _remove_node(files, NodeNetwork(registration.slot))
    if keep_logs is not None and files.logs.is_dir():
        shutil.copytree(files.logs, keep_logs, dirs_exist_ok=True)
    _delete_directory(files)
    with register_locked():
        unregister(registration.name)
        if not any(each.slot is not None for each in registrations()):
            machine.restore_settings()


def _remove_node(files: Files, net: NodeNetwork) -> None:
    # Everything but containerd first, so that nothing starts new containers; containerd then forgets the old ones.
    _kill_marked(files, lambda name: not name.startswith("containerd"))
    machine.kill_cgroup(net.cgroup)
    if container_runtime.answers(files.containerd_socket):
        with contextlib.suppress(ComponentFailedError):  # what stays is removed by the next start
            container_runtime.remove_containers(files.containerd_socket)
    _kill_marked(files, lambda _: True)
    _unmount_below(files.directory)
    _delete_pod_network_records(net)
    network.delete(net)
    _delete_log_links(files)


def _kill_marked(files: Files, wanted: Callable[[str], bool]) -> None:
    """SIGKILL the processes that carry this cluster's directory in their environment and whose name is wanted."""
    marked: list[ProcessIdentity] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if _belongs_to(process, files.directory) and wanted(process.name()):
                marked.append(ProcessIdentity.of(process.pid))
    for each in marked:
        each.send(signal.SIGKILL)
    if survivors := wait_gone(marked, STOP_TIMEOUT_SECONDS):
        raise ComponentFailedError(f"processes {[each.pid for each in survivors]} survive SIGKILL")


def _belongs_to(process: psutil.Process, directory: Path) -> bool:
    try:
        return process.environ().get(state.CLUSTER_VARIABLE) == str(directory)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return False


def _unmount_below(directory: Path) -> None:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    # Blanks in mount points are written as octal escapes (proc(5)).
    mounts = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    for mount in sorted(mounts, reverse=True):
        if Path(mount).is_relative_to(directory):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def _delete_pod_network_records(net: NodeNetwork) -> None:
    """The network plugins record every pod's interface in one folder of the machine."""
    for result in CNI_RESULTS.glob(f"{net.namespace}-*"):
        result.unlink(missing_ok=True)


def _delete_log_links(files: Files) -> None:
    """The kubelet links every container's log from one folder of the machine."""
    if not CONTAINER_LOG_LINKS.is_dir():
        return
    for link in CONTAINER_LOG_LINKS.iterdir():
        if link.is_symlink() and link.readlink().is_relative_to(files.directory):
            link.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        CONTAINER_LOG_LINKS.rmdir()  # only if empty: then the kubelet made it


def _delete_directory(files: Files) -> None:
    still_mounted = [
        line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if f" {files.directory}/" in line
    ]
    if still_mounted:
        raise ComponentFailedError(f"not deleting {files.directory}: still mounted below it: {still_mounted}")
    shutil.rmtree(files.directory, ignore_errors=True)
