"""Whether this machine can run a node, said up front in one sentence rather than by a component's failure."""

import os
import shutil
import sys
from pathlib import Path

from t2i_dev.cluster.container_runtime import CNI_PLUGINS
from t2i_dev.errors import MissingRequirementError

# Program -> Debian package.
CONTROL_PLANE_PROGRAMS = {"openssl": "openssl"}
NODE_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "nsenter": "util-linux",
    "sysctl": "procps",
}
CGROUPS = Path("/sys/fs/cgroup")


def missing_programs(programs: dict[str, str]) -> list[str]:
    """The Debian packages of the programs that are not on PATH."""
    return [package for program, package in programs.items() if shutil.which(program) is None]


def missing_for_control_plane() -> list[str]:
    """What is in the way of an API server, in words."""
    return [f"the program of package {package}" for package in missing_programs(CONTROL_PLANE_PROGRAMS)]


def missing_for_node() -> list[str]:
    """What is in the way of a real kubelet, in words; empty when nothing is."""
    if sys.platform != "linux":
        return [f"Linux (this is {sys.platform})"]
    missing = []
    if os.geteuid() != 0:
        missing.append("root (network namespaces, mounts and cgroups)")
    if not (CGROUPS.is_mount() or any(CGROUPS.glob("*"))) or not os.access(CGROUPS, os.W_OK):
        missing.append(f"writable cgroups in {CGROUPS}")
    missing += [f"the program of package {package}" for package in missing_programs(NODE_PROGRAMS)]
    if not (CNI_PLUGINS / "bridge").exists():
        missing.append(f"{CNI_PLUGINS}/bridge (package containernetworking-plugins)")
    return missing


def require(*, node: bool) -> None:
    """Raise `MissingRequirementError` that lists all that is missing, and the way out."""
    missing = missing_for_control_plane() + (missing_for_node() if node else [])
    if not missing:
        return
    way_out = "`t2i-dev setup` installs packages on Debian as root."
    if node:
        way_out += (
            " Without a node, `t2i-dev cluster up --no-node` still gives a real API server; for pods, set KUBECONFIG "
            "to a cluster that you have (kind, k3s, a real one)."
        )
    what = "a node (real kubelet and containerd)" if node else "the control plane"
    raise MissingRequirementError(f"this machine cannot run {what}: it lacks {'; '.join(missing)}. {way_out}")
