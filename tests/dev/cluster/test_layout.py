import ipaddress
from itertools import combinations

from t2i_dev.cluster.layout import SLOTS, NodeNetwork

ALL = [NodeNetwork(slot) for slot in range(SLOTS)]


def test_no_two_slots_share_a_subnet() -> None:
    subnets = [ipaddress.ip_network(subnet) for network in ALL for subnet in network.subnets]
    assert not any(a.overlaps(b) for a, b in combinations(subnets, 2))


def test_no_two_slots_share_a_name() -> None:
    for names in ("namespace", "host_interface", "cgroup", "containerd_root"):
        assert len({getattr(network, names) for network in ALL}) == SLOTS


def test_interface_names_fit_into_what_linux_allows() -> None:
    assert max(len(network.host_interface) for network in ALL) <= 15


def test_host_and_node_lie_in_the_first_subnet() -> None:
    for network in ALL:
        joined = ipaddress.ip_network(network.subnets[0])
        assert ipaddress.ip_address(network.host_address) in joined
        assert ipaddress.ip_address(network.node_address) in joined
