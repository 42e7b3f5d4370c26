"""Where one cluster keeps its files and which addresses it uses: pure, derived from its directory and slot number.

A cluster with a node lives in a network namespace of its own, so its ports are fixed; its subnets follow from a slot
number that no other cluster holds. A control plane alone listens on free loopback ports.
"""

from dataclasses import dataclass
from pathlib import Path

from t2i_dev.paths import cache_directory

SLOTS = 32


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """Names and addresses of the cluster in slot `slot`; every subnet is a /24."""

    slot: int

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return f"t2i-dev-{self.slot}"

    @property
    def host_interface(self) -> str:
        """The host's end of the veth pair (at most 15 characters)."""
        return f"t2idev{self.slot}"

    @property
    def host_address(self) -> str:
        """The host as pods see it."""
        return f"10.251.{self.slot}.1"

    @property
    def node_address(self) -> str:
        """The node, its API server and its S3 server, as host and pods see them."""
        return f"10.251.{self.slot}.2"

    @property
    def pod_subnet(self) -> str:
        """Addresses of pods."""
        return f"10.252.{self.slot}.0/24"

    @property
    def service_subnet(self) -> str:
        """Virtual addresses of services."""
        return f"10.253.{self.slot}.0/24"

    @property
    def subnets(self) -> tuple[str, ...]:
        """Everything that must not overlap with the networks of the machine."""
        return (f"10.251.{self.slot}.0/24", self.pod_subnet, self.service_subnet)

    @property
    def cgroup(self) -> str:
        """The cgroup below which all pods run."""
        return f"/t2i-dev-{self.slot}"

    @property
    def containerd_root(self) -> Path:
        """Images of this slot; outlives the cluster, so that each image is imported once."""
        return cache_directory() / "containerd" / f"slot-{self.slot}"

    def inside(self) -> tuple[str, ...]:
        """Command prefix that runs a program in the namespace.

        Not `ip netns exec`, which mounts a fresh /sys and thereby hides the cgroups.
        """
        return ("nsenter", f"--net=/run/netns/{self.namespace}")


@dataclass(frozen=True, slots=True)
class ControlPlaneAddresses:
    """Where the control plane listens."""

    address: str  # of the API server, as clients on the host see it
    bind_address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    service_subnet: str
    first_service_address: str  # the `kubernetes` service

    @property
    def url(self) -> str:
        """The API server for clients on the host and, with a node, for pods too."""
        return f"https://{self.address}:{self.api_port}"

    @property
    def local_url(self) -> str:
        """The API server for components beside it."""
        return f"https://127.0.0.1:{self.api_port}"


@dataclass(frozen=True, slots=True)
class Files:
    """The private directory of one cluster."""

    directory: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.directory / "pki"

    @property
    def logs(self) -> Path:
        """One log a component, and the audit log."""
        return self.directory / "logs"

    @property
    def audit_log(self) -> Path:
        """JSON lines of the API server's audit (audit.k8s.io/v1 Event)."""
        return self.logs / "audit.jsonl"

    @property
    def configuration(self) -> Path:
        """Files that components read at start."""
        return self.directory / "configuration"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def state(self) -> Path:
        """What was started."""
        return self.directory / "cluster.json"

    @property
    def containerd_socket(self) -> Path:
        """The container runtime's socket."""
        return self.directory / "containerd.sock"

    def component_kubeconfig(self, component: str) -> Path:
        """The kubeconfig of one component."""
        return self.configuration / f"{component}.kubeconfig"

    def log(self, component: str) -> Path:
        """The log of one component."""
        return self.logs / f"{component}.log"
