"""A containerd of its own for each cluster: own socket, own state, images kept per slot between clusters."""

import json
import subprocess
from pathlib import Path

from t2i_dev.cluster.layout import Files, NodeNetwork
from t2i_dev.errors import ComponentFailedError

PAUSE_IMAGE = "localhost/t2i-pause:1"
KUBERNETES_NAMESPACE = "k8s.io"
CNI_PLUGINS = Path("/usr/lib/cni")


def write_configuration(files: Files, network: NodeNetwork) -> None:
    """Write containerd's TOML and the bridge network of the pods."""
    version = subprocess.run(["containerd", "--version"], capture_output=True, text=True, check=True).stdout
    second = " 2." in version or " v2." in version
    (files.configuration / "containerd.toml").write_text((_toml_v3 if second else _toml_v2)(files, network))
    cni = files.configuration / "cni"
    cni.mkdir(exist_ok=True)
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(files.directory / "pod-addresses"),
            "ranges": [[{"subnet": network.pod_subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    document = {"cniVersion": "1.0.0", "name": network.namespace, "plugins": [bridge, ports]}
    (cni / "10-bridge.conflist").write_text(json.dumps(document))


def _common(files: Files, network: NodeNetwork) -> str:
    return f"""root = "{network.containerd_root}"
state = "{files.directory / "containerd"}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[grpc]
  address = "{files.containerd_socket}"
"""


# Root in a container often lacks CAP_SYS_RESOURCE: without restrict_oom_score_adj every sandbox then fails with
# "can't get final child's PID from pipe". Network namespaces of pods lie below the cluster's own directory, so that
# stopping it finds them all.
def _toml_v2(files: Files, network: NodeNetwork) -> str:
    """For containerd 1.x."""
    cri = "io.containerd.grpc.v1.cri"
    return f"""version = 2
{_common(files, network)}
[plugins."{cri}"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."{cri}".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{files.configuration / "cni"}"
  [plugins."{cri}".containerd]
    default_runtime_name = "runc"
    snapshotter = "overlayfs"
    [plugins."{cri}".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."{cri}".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _toml_v3(files: Files, network: NodeNetwork) -> str:
    """For containerd 2.x."""
    runtime, images = "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"
    return f"""version = 3
{_common(files, network)}
[plugins."{images}"]
  snapshotter = "overlayfs"
  [plugins."{images}".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[plugins."{runtime}"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."{runtime}".cni]
    bin_dirs = ["{CNI_PLUGINS}"]
    conf_dir = "{files.configuration / "cni"}"
  [plugins."{runtime}".containerd]
    default_runtime_name = "runc"
    [plugins."{runtime}".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."{runtime}".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def containerd(files: Files) -> list[str]:
    """The command line."""
    return ["containerd", "--config", str(files.configuration / "containerd.toml"), "--log-level", "warn"]


def ctr(socket: Path, *arguments: str) -> str:
    """Run containerd's client in Kubernetes' namespace. Raises `ComponentFailedError` with its words."""
    command = ["ctr", "--address", str(socket), "--namespace", KUBERNETES_NAMESPACE, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ComponentFailedError(f"ctr {' '.join(arguments)} failed: {result.stderr.strip()}")
    return result.stdout


def answers(socket: Path) -> bool:
    """Whether containerd serves."""
    if not socket.exists():
        return False
    command = ["ctr", "--address", str(socket), "--connect-timeout", "1s", "version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def remove_containers(socket: Path) -> int:
    """Delete every container with its snapshot, so that the images alone stay; returns how many there were."""
    for task in ctr(socket, "tasks", "list", "--quiet").split():
        subprocess.run(
            ["ctr", "--address", str(socket), "-n", KUBERNETES_NAMESPACE, "tasks", "delete", "--force", task],
            capture_output=True,
            check=False,
        )
    containers = ctr(socket, "containers", "list", "--quiet").split()
    if containers:
        ctr(socket, "containers", "delete", *containers)
    return len(containers)


def remove_unnamed_images(socket: Path) -> None:
    """Let go of images whose tag has moved on; containerd then deletes the layers that no other image uses.

    Only safe before any pod runs.
    """
    if unnamed := unnamed_images(ctr(socket, "images", "list")):
        ctr(socket, "images", "delete", *unnamed)


def unnamed_images(listing: str) -> list[str]:
    """The images in the output of `ctr images list` that have no name but a digest.

    Kubernetes' plugin names every image by the digest of its configuration too, and keeps that name for ever.
    """
    images = dict(line.split()[0:3:2] for line in listing.splitlines()[1:])
    named = {digest for name, digest in images.items() if not name.startswith("sha256:")}
    return [name for name, digest in images.items() if digest not in named]
