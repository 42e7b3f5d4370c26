"""A pod's service account as a kubeconfig: the API server gives the token, bound to nothing but the account."""

import base64
import json
from pathlib import Path

from t2i_dev.cluster.api_client import ApiClient
from t2i_dev.cluster.state import write_private

TOKEN_SECONDS = 24 * 3600  # a development session; the kubelet would renew a shorter one


def service_account_kubeconfig(client: ApiClient, namespace: str, account: str, directory: Path) -> Path:
    """Write a kubeconfig below `directory` (mode 0600) and return its path."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS},
    }
    made = client.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request)
    authority = base64.b64encode((client.files.pki / "ca.crt").read_bytes()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": client.url, "certificate-authority-data": authority}}],
        "users": [{"name": "u", "user": {"token": made["status"]["token"]}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "current-context": "x",
    }
    path = directory / "kubeconfig"
    write_private(path, json.dumps(document))
    return path
