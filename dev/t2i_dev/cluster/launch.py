"""Bring a registered cluster up, component by component, each recorded as soon as it runs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t2i_dev.cluster import container_runtime, control_plane, dns, machine, network, node, pki
from t2i_dev.cluster.api_client import ApiClient
from t2i_dev.cluster.layout import ControlPlaneAddresses, Files, NodeNetwork
from t2i_dev.cluster.pause_image import import_pause_image
from t2i_dev.cluster.register import Registration
from t2i_dev.cluster.state import CLUSTER_VARIABLE, ClusterState, Component, save
from t2i_dev.ports import free_ports
from t2i_dev.processes import spawn, wait_until
from t2i_dev.progress import Progress
from t2i_dev.s3_server import S3Server, server_credentials
from t2i_dev.tools import COREDNS, ETCD, KUBERNETES, PAUSE, VERSITYGW, Tool

API_SERVER_TIMEOUT_SECONDS = 90.0
NODE_TIMEOUT_SECONDS = 90.0
S3_PORT = 7070
S3_COMPONENT = "s3"


def tools_for(*, with_node: bool) -> tuple[Tool, ...]:
    """What has to be built before a start."""
    return (VERSITYGW, ETCD, KUBERNETES, *((COREDNS, PAUSE) if with_node else ()))


def addresses_for(net: NodeNetwork | None) -> ControlPlaneAddresses:
    """Fixed ports inside a namespace, free loopback ports without one."""
    if net is None:
        api, etcd, peer = free_ports(3)
        return ControlPlaneAddresses("127.0.0.1", "127.0.0.1", api, etcd, peer, "10.253.0.0/24", "10.253.0.1")
    first = net.service_subnet.removesuffix("0/24") + "1"
    return ControlPlaneAddresses(net.node_address, "0.0.0.0", 6443, 2379, 2380, net.service_subnet, first)  # noqa: S104


@dataclass(slots=True)
class Launch:
    """One start; `state` grows with every component."""

    state: ClusterState
    network: NodeNetwork | None
    progress: Progress

    @classmethod
    def of(cls, registration: Registration, progress: Progress) -> "Launch":
        """A start from nothing for this registration."""
        net = None if registration.slot is None else NodeNetwork(registration.slot)
        state = ClusterState(
            name=registration.name,
            directory=registration.directory,
            slot=registration.slot,
            addresses=addresses_for(net),
            s3_endpoint="",
            s3_access_key="",
            s3_secret_key="",
        )
        return cls(state, net, progress)

    @property
    def files(self) -> Files:
        """The private directory."""
        return Files(self.state.directory)

    @property
    def client(self) -> ApiClient:
        """The administrator's client."""
        return ApiClient(self.files, self.state.addresses.url)

    def run(self) -> ClusterState:
        """Start everything and wait until it is ready; returns the final, saved state."""
        with self.progress.stage("certificates and network"):
            self._prepare()
        with self.progress.stage("API server, etcd, S3 server" + (", containerd" if self.network else "")):
            self._start_servers()
        self._start_controllers()
        if self.network is not None:
            with self.progress.stage("node"):
                self._start_node(self.network)
        with self.progress.stage("controllers"):
            # The last that the controllers make; without it every pod is refused.
            wait_until(
                lambda: self.client.get("/api/v1/namespaces/default/serviceaccounts/default") is not None,
                "the default service account",
                timeout_seconds=API_SERVER_TIMEOUT_SECONDS,
                poll_seconds=0.2,
            )
        self.state = self.state.model_copy(update={"ready": True})
        save(self.state)
        return self.state

    def _prepare(self) -> None:
        addresses, files, net = self.state.addresses, self.files, self.network
        certificates = pki.control_plane_certificates(addresses)
        if net is not None:
            certificates += pki.node_certificates(node.NODE_NAME, net.node_address)
            network.create(net)
            machine.create_cgroup(net.cgroup)
        pki.issue(files, certificates)
        control_plane.write_configuration(files, addresses)
        if net is not None:
            container_runtime.write_configuration(files, net)
            node.write_configuration(files, net, addresses.local_url)
            dns.write_configuration(files, net, addresses.local_url)

    def _start_servers(self) -> None:
        files, addresses = self.files, self.state.addresses
        self.start("etcd", control_plane.etcd(ETCD.directory / "etcd", files, addresses))
        api_server = KUBERNETES.directory / "kube-apiserver"
        self.start("kube-apiserver", control_plane.api_server(api_server, files, addresses))
        self._start_s3()
        if self.network is not None:
            self._start_containerd()
            import_pause_image(files.containerd_socket, PAUSE.directory / "pause", files.directory / "pause.tar")
        wait_until(
            self.client.ready,
            "API server",
            timeout_seconds=API_SERVER_TIMEOUT_SECONDS,
            process=self.state.component("kube-apiserver").process,
            log=files.log("kube-apiserver"),
        )

    def _start_s3(self) -> None:
        server = S3Server.start(
            self.files.directory / "s3",
            address=self.network.node_address if self.network else "127.0.0.1",
            port=S3_PORT if self.network else None,
            command_prefix=self._prefix(),
            die_with_parent=False,
            marks=self._marks(),
        )
        keys = {"s3_endpoint": server.endpoint, "s3_access_key": server.access_key, "s3_secret_key": server.secret_key}
        self.state = self.state.model_copy(update=keys)
        environment = {**self._marks(), **server_credentials(server.access_key, server.secret_key)}
        self._record(Component(name=S3_COMPONENT, argv=server.argv, environment=environment, process=server.process))

    def _start_containerd(self) -> None:
        socket = self.files.containerd_socket
        self.start("containerd", container_runtime.containerd(self.files))
        wait_until(
            lambda: container_runtime.answers(socket),
            "containerd",
            timeout_seconds=NODE_TIMEOUT_SECONDS,
            process=self.state.component("containerd").process,
            log=self.files.log("containerd"),
        )
        if container_runtime.remove_containers(socket):
            # A crash left them; containerd's own view of them ends with a restart only.
            self.state.component("containerd").process.stop()
            self._start_containerd()
        container_runtime.remove_unnamed_images(socket)

    def _start_controllers(self) -> None:
        for name, command in (
            ("kube-controller-manager", control_plane.controller_manager),
            ("kube-scheduler", control_plane.scheduler),
        ):
            self.start(name, command(KUBERNETES.directory / name, self.files))

    def _start_node(self, net: NodeNetwork) -> None:
        files, programs = self.files, KUBERNETES.directory
        self.start("kubelet", node.kubelet(programs / "kubelet", files, net))
        self.start("kube-proxy", node.kube_proxy(programs / "kube-proxy", files))
        for document in dns.rbac():
            plural = f"{document['kind'].lower()}s"
            path = f"/apis/rbac.authorization.k8s.io/v1/{plural}/{document['metadata']['name']}"
            self.client.apply(path, document)
        self.start("coredns", dns.coredns(COREDNS.directory / "coredns", files))
        wait_until(
            lambda: node_ready(self.client),
            "node",
            timeout_seconds=NODE_TIMEOUT_SECONDS,
            process=self.state.component("kubelet").process,
            log=files.log("kubelet"),
        )
        advertise_gpus(self.client)

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a component in the cluster's namespace and record it."""
        command = (*self._prefix(), *argv)
        variables = {**self._marks(), **(environment or {})}
        process = spawn(command, log=self.files.log(name), environment=variables)
        self._record(Component(name=name, argv=command, environment=variables, process=process))

    def _record(self, component: Component) -> None:
        self.state = self.state.with_component(component)
        save(self.state)

    def _prefix(self) -> tuple[str, ...]:
        return self.network.inside() if self.network else ()

    def _marks(self) -> dict[str, str]:
        # containerd's shims inherit it too.
        return {CLUSTER_VARIABLE: str(self.state.directory), "PATH": _path_with_sbin()}


def node_ready(client: ApiClient, name: str = node.NODE_NAME) -> bool:
    """Whether the node reports Ready."""
    answer = client.get(f"/api/v1/nodes/{name}") or {}
    conditions = answer.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def advertise_gpus(client: ApiClient) -> None:
    """Give the node its GPUs; a kubelet that starts anew has set them to zero."""
    client.merge(f"/api/v1/nodes/{node.NODE_NAME}/status", node.gpu_patch())


def _path_with_sbin() -> str:
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
