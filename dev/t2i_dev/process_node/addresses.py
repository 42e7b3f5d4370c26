"""Addresses of pods: loopback addresses of their own on Linux, so that two pods can listen on one port."""

import sys
from dataclasses import dataclass, field
from typing import Any

FIRST_NETWORK = "127.88"
HOSTS_IN_NETWORK = 250


@dataclass
class AddressBook:
    """Gives every pod an address, the same for a host name that is asked for before its pod exists."""

    one_for_all: bool = sys.platform != "linux"  # elsewhere only 127.0.0.1 is configured
    given: dict[str, str] = field(default_factory=dict)

    def address(self, owner: str) -> str:
        """Return the address of `owner`, `namespace/host name`."""
        if self.one_for_all:
            return "127.0.0.1"
        if owner not in self.given:
            network, host = divmod(len(self.given), HOSTS_IN_NETWORK)
            self.given[owner] = f"{FIRST_NETWORK}.{network}.{host + 1}"
        return self.given[owner]

    def names(self, pod: dict[str, Any]) -> dict[str, str]:
        """Return the host names of a pod's whole group, as a headless Service would publish them.

        `<job>-0.<service>` and its longer forms; peers of an Indexed Job differ in the last number.
        """
        spec, namespace = pod["spec"], pod["metadata"]["namespace"]
        service = spec.get("subdomain")
        if not service:
            return {}
        stem = host_name(pod).rpartition("-")[0]
        short = {f"{stem}-{index}.{service}": self.address(f"{namespace}/{stem}-{index}") for index in range(64)}
        long = {f"{name}.{namespace}.svc.cluster.local": address for name, address in short.items()}
        return short | long


def host_name(pod: dict[str, Any]) -> str:
    """Return the pod's host name, as the kubelet would set it."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])
