"""What a node changes outside its namespace, and how it is put back: kernel settings and cgroups."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from t2i_dev.cluster.requirements import CGROUPS
from t2i_dev.cluster.state import write_private
from t2i_dev.errors import ComponentFailedError
from t2i_dev.paths import clusters_directory

# The kubelet sets these for the whole machine (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables).
KUBELET_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
EMPTY_CGROUP_TIMEOUT_SECONDS = 10.0


def save_settings() -> None:
    """Remember the kernel settings before the first node of this boot changes them; the caller holds the register."""
    path = _settings_path()
    with contextlib.suppress(FileNotFoundError, ValueError):
        if json.loads(path.read_text())["boot"] == _boot_id():
            return
    values = {name: Path("/proc/sys", name).read_text().strip() for name in KUBELET_SETTINGS}
    write_private(path, json.dumps({"boot": _boot_id(), "values": values}))


def restore_settings() -> None:
    """Put the kernel settings back after the last node; the caller holds the register."""
    path = _settings_path()
    with contextlib.suppress(FileNotFoundError, ValueError):
        saved = json.loads(path.read_text())
        if saved["boot"] == _boot_id():
            for name, value in saved["values"].items():
                Path("/proc/sys", name).write_text(value)
    path.unlink(missing_ok=True)


def create_cgroup(cgroup: str) -> None:
    """Make the cgroup in every hierarchy (v1), or with every controller (v2)."""
    if (CGROUPS / "cgroup.controllers").exists():
        top = CGROUPS / cgroup.removeprefix("/")
        controllers = " ".join(f"+{each}" for each in (CGROUPS / "cgroup.controllers").read_text().split())
        (CGROUPS / "cgroup.subtree_control").write_text(controllers)
        top.mkdir(exist_ok=True)
        (top / "cgroup.subtree_control").write_text(controllers)
        return
    for hierarchy in _hierarchies():
        top = hierarchy / cgroup.removeprefix("/")
        top.mkdir(exist_ok=True)
        if hierarchy.name == "cpuset":  # a new cpuset is empty, and nothing can run in it
            for name in ("cpuset.cpus", "cpuset.mems"):
                (top / name).write_text((hierarchy / name).read_text())


def kill_cgroup(cgroup: str) -> None:
    """SIGKILL everything that runs below the cgroup, then remove it."""
    tops = [top for hierarchy in _all_hierarchies() if (top := hierarchy / cgroup.removeprefix("/")).is_dir()]
    deadline = time.monotonic() + EMPTY_CGROUP_TIMEOUT_SECONDS
    while pids := {pid for top in tops for pid in _pids_below(top)}:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise ComponentFailedError(f"processes {sorted(pids)} below cgroup {cgroup} survive SIGKILL")
        time.sleep(0.02)
    for top in tops:
        for directory, _, _ in os.walk(top, topdown=False):
            _remove_cgroup(Path(directory), deadline)


def _remove_cgroup(directory: Path, deadline: float) -> None:
    while True:
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            # A killed process leaves its cgroup a moment after it is gone from the list.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _pids_below(top: Path) -> set[int]:
    found: set[int] = set()
    for directory, _, _ in os.walk(top):
        with contextlib.suppress(OSError):
            found.update(int(line) for line in Path(directory, "cgroup.procs").read_text().split())
    return found


def _hierarchies() -> list[Path]:
    # `unified` is systemd's own v2 hierarchy beside the v1 ones: it has no controllers for us.
    return [each for each in _all_hierarchies() if each.name != "unified"]


def _all_hierarchies() -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    # Links are names like `cpuacct` for `cpu,cpuacct`.
    return [each for each in CGROUPS.iterdir() if each.is_dir() and not each.is_symlink()]


def _settings_path() -> Path:
    return clusters_directory() / ".kernel-settings"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
