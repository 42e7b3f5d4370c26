"""Names, labels and owner of every child: owned children are removed by Kubernetes when the job is deleted."""

from typing import Any

from t2i_api.attempt import KIND, child_name, labels
from t2i_api.job import API_VERSION, DiffusionTrainingJob


def child_metadata(job: DiffusionTrainingJob, attempt: int) -> dict[str, Any]:
    """Return `metadata` of a child of an attempt."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": child_name(job.metadata.name, attempt),
        "namespace": job.metadata.namespace,
        "labels": labels(job.metadata.name, attempt),
        "ownerReferences": [owner],
    }
