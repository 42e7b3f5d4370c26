"""A network namespace for one cluster, joined to the host by a veth pair.

The host reaches the API server, pods and services; pods reach each other, the node and the host, and nothing outside.
"""

import ipaddress
import json
import subprocess
from pathlib import Path

from t2i_dev.cluster.layout import SLOTS, NodeNetwork
from t2i_dev.errors import ClusterStateError, ComponentFailedError


def free_network(taken_slots: set[int]) -> NodeNetwork:
    """The first slot that no cluster holds and whose subnets the machine does not use.

    Raises `ClusterStateError` when all are taken.
    """
    in_use = _networks_of_machine()
    for slot in range(SLOTS):
        network = NodeNetwork(slot)
        subnets = [ipaddress.ip_network(each) for each in network.subnets]
        overlaps = any(mine.overlaps(other) for mine in subnets for other in in_use)
        if slot not in taken_slots and not overlaps and not namespace_path(network).exists():
            return network
    raise ClusterStateError(
        f"none of {SLOTS} slots is free: 10.251.0.0/16, 10.252.0.0/16 and 10.253.0.0/16 are in use on this machine; "
        "`t2i-dev cluster status` lists our clusters"
    )


def namespace_path(network: NodeNetwork) -> Path:
    """The namespace's handle in the file system."""
    return Path("/run/netns") / network.namespace


def create(network: NodeNetwork) -> None:
    """Make the namespace, the veth pair and the routes to pods and services."""
    host, inside = network.host_interface, network.inside()
    _run("ip", "netns", "add", network.namespace)
    _run("ip", "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", network.namespace)
    _run("ip", "addr", "add", f"{network.host_address}/24", "dev", host)
    _run("ip", "link", "set", host, "up")
    _run(*inside, "ip", "link", "set", "lo", "up")
    _run(*inside, "ip", "addr", "add", f"{network.node_address}/24", "dev", "eth0")
    _run(*inside, "ip", "link", "set", "eth0", "up")
    _run(*inside, "ip", "route", "add", "default", "via", network.host_address)
    _run(*inside, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    for subnet in (network.pod_subnet, network.service_subnet):
        _run("ip", "route", "replace", subnet, "via", network.node_address, "dev", host)


def delete(network: NodeNetwork) -> None:
    """Remove the namespace; interfaces, routes and packet filter rules go with it."""
    if namespace_path(network).exists():
        _run("ip", "netns", "delete", network.namespace)
    # A start that was killed between the two commands may have left the host's end alone.
    if Path(f"/sys/class/net/{network.host_interface}").exists():
        subprocess.run(["ip", "link", "delete", network.host_interface], check=False, capture_output=True)


def _networks_of_machine() -> list[ipaddress.IPv4Network]:
    addresses = json.loads(_run("ip", "-json", "-4", "address", "show"))
    networks = [
        ipaddress.IPv4Interface(f"{info['local']}/{info['prefixlen']}").network
        for link in addresses
        for info in link.get("addr_info", ())
    ]
    routes = json.loads(_run("ip", "-json", "-4", "route", "show"))
    destinations = [route["dst"] for route in routes if route["dst"] != "default"]
    return networks + [ipaddress.IPv4Network(each, strict=False) for each in destinations]


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ComponentFailedError(f"{' '.join(command)} failed: {result.stderr.strip()}")
    return result.stdout
