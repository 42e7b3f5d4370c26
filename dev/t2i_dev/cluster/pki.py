"""One elliptic-curve authority a cluster and one certificate a component, made with openssl in about a second."""

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from t2i_dev.cluster.layout import ControlPlaneAddresses, Files
from t2i_dev.errors import ComponentFailedError

VALID_DAYS = "365"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What to issue; user and group names are how Kubernetes' RBAC knows the component."""

    name: str
    common_name: str
    organization: str = ""
    alternative_names: str = ""  # openssl subjectAltName; not empty means a serving certificate


def control_plane_certificates(addresses: ControlPlaneAddresses) -> tuple[Certificate, ...]:
    """The certificates that every cluster needs."""
    service_names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
    names = ["localhost", *service_names, "kubernetes.default.svc.cluster.local"]
    ips = dict.fromkeys(["127.0.0.1", addresses.address, addresses.first_service_address])
    api_names = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{ip}" for ip in ips)])
    return (
        Certificate("apiserver", "kube-apiserver", alternative_names=api_names),
        Certificate("etcd", "etcd", alternative_names="IP:127.0.0.1,DNS:localhost"),
        Certificate("apiserver-etcd", "apiserver-etcd"),
        Certificate("apiserver-kubelet", "apiserver-kubelet", "system:masters"),
        Certificate("admin", "admin", "system:masters"),
        Certificate("kube-controller-manager", "system:kube-controller-manager"),
        Certificate("kube-scheduler", "system:kube-scheduler"),
    )


def node_certificates(node_name: str, node_address: str) -> tuple[Certificate, ...]:
    """The certificates of a node's components."""
    user, group = f"system:node:{node_name}", "system:nodes"
    return (
        Certificate("kubelet", user, group),
        Certificate("kubelet-serving", user, group, f"DNS:{node_name},IP:{node_address}"),
        Certificate("kube-proxy", "system:kube-proxy"),
        Certificate("coredns", "system:coredns"),
    )


def issue(files: Files, certificates: tuple[Certificate, ...]) -> None:
    """Make the authority, the key pair that signs service account tokens, and all certificates."""
    files.pki.mkdir(mode=0o700)
    ca_key, ca_crt = files.pki / "ca.key", files.pki / "ca.crt"
    subject = ("-days", VALID_DAYS, "-subj", "/CN=t2i-dev")
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")
    _openssl("req", "-x509", "-new", *CURVE, "-keyout", ca_key, "-out", ca_crt, *subject, *usage)
    service_account = files.pki / "service-account.key"
    _openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", service_account)
    _openssl("ec", "-in", service_account, "-pubout", "-out", files.pki / "service-account.pub")
    for certificate in certificates:
        _issue_one(files.pki, certificate)


def _issue_one(pki: Path, certificate: Certificate) -> None:
    key, crt, csr, extensions = (pki / f"{certificate.name}.{end}" for end in ("key", "crt", "csr", "ext"))
    subject = f"/O={certificate.organization}" if certificate.organization else ""
    _openssl("req", "-new", *CURVE, "-keyout", key, "-out", csr, "-subj", f"{subject}/CN={certificate.common_name}")
    usage = "serverAuth,clientAuth" if certificate.alternative_names else "clientAuth"
    lines = ["keyUsage=digitalSignature", f"extendedKeyUsage={usage}"]
    if certificate.alternative_names:
        lines.append(f"subjectAltName={certificate.alternative_names}")
    extensions.write_text("\n".join(lines) + "\n")
    authority = ("-CA", pki / "ca.crt", "-CAkey", pki / "ca.key", "-CAcreateserial", "-days", VALID_DAYS)
    _openssl("x509", "-req", "-in", csr, *authority, "-extfile", extensions, "-out", crt)
    key.chmod(0o600)
    csr.unlink()
    extensions.unlink()


def write_kubeconfig(files: Files, certificate: str, server: str, path: Path) -> None:
    """A kubeconfig with everything inline, readable by its owner only."""

    def inline(name: str) -> str:
        return base64.b64encode((files.pki / name).read_bytes()).decode()

    name = "t2i-dev"
    user = {
        "client-certificate-data": inline(f"{certificate}.crt"),
        "client-key-data": inline(f"{certificate}.key"),
    }
    cluster = {"server": server, "certificate-authority-data": inline("ca.crt")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))


def _openssl(*arguments: str | Path) -> None:
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ComponentFailedError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")
