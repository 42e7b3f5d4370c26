"""Kubernetes events about a job (events.k8s.io/v1): what `kubectl describe dtj` shows at its end."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from t2i_api.attempt import GROUP, KIND
from t2i_api.job import API_VERSION, DiffusionTrainingJob
from t2i_operator.plan import Event

CONTROLLER = f"{GROUP}/t2i-operator"
_MAXIMUM_NOTE_BYTES = 1024


def event_object(job: DiffusionTrainingJob, event: Event, *, version: str, instance: str) -> dict[str, Any]:
    """Return the event; its name is made of what it says at which version of the job, so that none is told twice."""
    metadata = job.metadata
    identity = f"{metadata.uid} {version} {event.reason} {event.message}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    note = event.message.encode()[:_MAXIMUM_NOTE_BYTES].decode(errors="ignore")
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata.name}.{digest}", "namespace": metadata.namespace},
        "eventTime": now,
        "action": "Reconcile",
        "reason": event.reason[:128],
        "note": note,
        "type": event.type,
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
        },
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
    }
