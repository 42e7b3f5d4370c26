"""Command lines of etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

Kubernetes' defaults wherever a test must see what a production cluster would do.
"""

import json
from pathlib import Path

from t2i_dev.cluster.audit import AUDIT_POLICY
from t2i_dev.cluster.layout import ControlPlaneAddresses, Files
from t2i_dev.cluster.pki import write_kubeconfig


def write_configuration(files: Files, addresses: ControlPlaneAddresses) -> None:
    """Kubeconfigs and the audit policy."""
    files.configuration.mkdir(exist_ok=True)
    files.logs.mkdir(exist_ok=True)
    write_kubeconfig(files, "admin", addresses.url, files.kubeconfig)
    for component in ("kube-controller-manager", "kube-scheduler"):
        write_kubeconfig(files, component, addresses.local_url, files.component_kubeconfig(component))
    (files.configuration / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))


def etcd(program: Path, files: Files, addresses: ControlPlaneAddresses) -> list[str]:
    """Without fsync: the data dies with the cluster anyway, and start-up is seconds faster."""
    client = f"https://127.0.0.1:{addresses.etcd_port}"
    peer = f"http://127.0.0.1:{addresses.etcd_peer_port}"
    return [
        str(program),
        "--name=etcd",
        f"--data-dir={files.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=etcd={peer}",
        "--client-cert-auth",
        f"--trusted-ca-file={files.pki}/ca.crt",
        f"--cert-file={files.pki}/etcd.crt",
        f"--key-file={files.pki}/etcd.key",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(program: Path, files: Files, addresses: ControlPlaneAddresses) -> list[str]:
    """Node and RBAC authorization, client certificates, audit log."""
    pki = files.pki
    return [
        str(program),
        f"--bind-address={addresses.bind_address}",
        f"--advertise-address={addresses.address}",
        f"--secure-port={addresses.api_port}",
        f"--etcd-servers=https://127.0.0.1:{addresses.etcd_port}",
        f"--etcd-cafile={pki}/ca.crt",
        f"--etcd-certfile={pki}/apiserver-etcd.crt",
        f"--etcd-keyfile={pki}/apiserver-etcd.key",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-cluster-ip-range={addresses.service_subnet}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--endpoint-reconciler-type=lease",
        f"--audit-policy-file={files.configuration}/audit-policy.json",
        f"--audit-log-path={files.audit_log}",
        "--audit-log-format=json",
        # Blocking: a test that sees an object must find its creation in the log.
        "--audit-log-mode=blocking",
        "--profiling=false",
    ]


def controller_manager(program: Path, files: Files) -> list[str]:
    """All controllers, each with its own service account."""
    return [
        *_client_of_api_server(program, files),
        f"--service-account-private-key-file={files.pki}/service-account.key",
        f"--root-ca-file={files.pki}/ca.crt",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={files.pki}/ca.crt",
        f"--cluster-signing-key-file={files.pki}/ca.key",
        "--allocate-node-cidrs=false",
        f"--flex-volume-plugin-dir={files.directory / 'volume-plugins'}",
    ]


def scheduler(program: Path, files: Files) -> list[str]:
    """The default scheduler."""
    return _client_of_api_server(program, files)


def _client_of_api_server(program: Path, files: Files) -> list[str]:
    kubeconfig = files.component_kubeconfig(program.name)
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--secure-port=0",  # nobody scrapes them, and several clusters must not contend for a port
        "--leader-elect=false",
        "--profiling=false",
    ]
