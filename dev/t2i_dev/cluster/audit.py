"""What the API server writes down: enough to prove in which order objects were created.

Policy format: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

from typing import Any

# Request bodies for what the operator's promises are about; names only for the rest.
AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {
            "level": "None",
            "resources": [{"group": "", "resources": ["events"]}, {"group": "events.k8s.io"}],
        },
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "None", "nonResourceURLs": ["/healthz*", "/readyz*", "/livez*", "/version", "/openapi*"]},
        {
            "level": "Request",
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
            "resources": [
                {"group": "batch", "resources": ["jobs"]},
                {"group": "", "resources": ["pods"]},
                {"group": "training.t2i.dev"},
            ],
        },
        {"level": "None", "verbs": ["get", "list", "watch"], "userGroups": ["system:nodes"]},
        {"level": "None", "verbs": ["get", "list", "watch"], "users": ["system:kube-scheduler"]},
        {"level": "None", "verbs": ["get", "list", "watch"], "users": ["system:kube-controller-manager"]},
        {"level": "Metadata"},
    ],
}
