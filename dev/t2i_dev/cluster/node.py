"""The node: kubelet and kube-proxy, and GPUs that exist for the scheduler only."""

import json
from pathlib import Path
from typing import Any

from t2i_dev.cluster.layout import Files, NodeNetwork
from t2i_dev.cluster.pki import write_kubeconfig

NODE_NAME = "t2i-dev-node"
PROCESS_NODE_NAME = "t2i-process-node"
GPU_RESOURCE = "nvidia.com/gpu"
GPUS = 8


def write_configuration(files: Files, network: NodeNetwork, api_url: str) -> None:
    """Configuration files and kubeconfigs of both."""
    for component in ("kubelet", "kube-proxy"):
        write_kubeconfig(files, component, api_url, files.component_kubeconfig(component))
    resolv = files.configuration / "resolv.conf"
    resolv.write_text(f"nameserver {network.node_address}\n")
    (files.configuration / "kubelet.json").write_text(json.dumps(_kubelet_configuration(files, network, resolv)))
    (files.configuration / "kube-proxy.json").write_text(json.dumps(_proxy_configuration(files, network)))


def _kubelet_configuration(files: Files, network: NodeNetwork, resolv: Path) -> dict[str, Any]:
    """https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/."""
    socket = f"unix://{files.containerd_socket}"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": socket,
        "imageServiceEndpoint": socket,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{files.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{files.pki}/kubelet-serving.crt",
        "tlsPrivateKeyFile": f"{files.pki}/kubelet-serving.key",
        "clusterDNS": [network.node_address],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolv),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": network.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "podLogsDir": str(files.directory / "pod-logs"),
        "volumePluginDir": str(files.directory / "volume-plugins"),
        "healthzBindAddress": "127.0.0.1",
        "readOnlyPort": 0,
        # Images come from no registry: one that is collected could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
    }


def _proxy_configuration(files: Files, network: NodeNetwork) -> dict[str, Any]:
    """https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(files.component_kubeconfig("kube-proxy"))},
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": network.pod_subnet,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # The connection tracking limits belong to the machine, not to a namespace: leave them alone.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def kubelet(program: Path, files: Files, network: NodeNetwork) -> list[str]:
    """The command line."""
    return [
        str(program),
        f"--config={files.configuration / 'kubelet.json'}",
        f"--kubeconfig={files.component_kubeconfig('kubelet')}",
        f"--root-dir={files.directory / 'kubelet'}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={network.node_address}",
    ]


def kube_proxy(program: Path, files: Files) -> list[str]:
    """The command line."""
    return [str(program), f"--config={files.configuration / 'kube-proxy.json'}"]


def gpu_patch() -> dict[str, Any]:
    """Status patch that advertises GPUs, which the real scheduler then counts.

    https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/
    """
    gpus = {GPU_RESOURCE: str(GPUS)}
    return {"status": {"capacity": gpus, "allocatable": gpus}}
