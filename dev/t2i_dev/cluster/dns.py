"""Cluster DNS: CoreDNS as a process on the node's address, with the few plugins that a cluster needs."""

from pathlib import Path
from typing import Any

from t2i_dev.cluster.layout import Files, NodeNetwork
from t2i_dev.cluster.pki import write_kubeconfig

USER = "system:coredns"


def rbac() -> list[dict[str, Any]]:
    """What CoreDNS may read (the rules of its Kubernetes plugin's documentation)."""
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": USER}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": USER},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    }
    return [role, binding]


def write_configuration(files: Files, network: NodeNetwork, api_url: str) -> None:
    """Corefile and kubeconfig. Names outside the cluster do not exist: pods reach nothing outside."""
    kubeconfig = files.component_kubeconfig("coredns")
    write_kubeconfig(files, "coredns", api_url, kubeconfig)
    (files.configuration / "Corefile").write_text(
        f"""cluster.local:53 in-addr.arpa:53 {{
  bind {network.node_address}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig} t2i-dev
    pods verified
    ttl 2
  }}
}}
.:53 {{
  bind {network.node_address}
  errors
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""
    )


def coredns(program: Path, files: Files) -> list[str]:
    """The command line."""
    return [str(program), "-conf", str(files.configuration / "Corefile")]
