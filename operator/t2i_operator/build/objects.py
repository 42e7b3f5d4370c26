"""The Indexed Job that Kubernetes makes the pods of, and the headless Service by which they find each other.

https://kubernetes.io/docs/concepts/workloads/controllers/job/ : one pod's end is the attempt's end, because the other
ranks cannot go on without it; restarting is the operator's decision, never the Job controller's.
"""

from typing import Any

from t2i_api.attempt import CONTAINER_NAME, METRICS_PORT, RENDEZVOUS_PORT, labels
from t2i_api.job import DiffusionTrainingJob
from t2i_operator.build.beginning import Beginning
from t2i_operator.build.defaults import TrainerDefaults
from t2i_operator.build.metadata import child_metadata
from t2i_operator.build.pods import pod_template


def service(job: DiffusionTrainingJob, attempt: int) -> dict[str, Any]:
    """Return the headless Service; it names pods that are not ready yet, for they wait for each other."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(job, attempt),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": labels(job.metadata.name, attempt),
            "ports": [
                {"name": "rendezvous", "port": RENDEZVOUS_PORT, "protocol": "TCP"},
                {"name": "metrics", "port": METRICS_PORT, "protocol": "TCP"},
            ],
        },
    }


def batch_job(
    job: DiffusionTrainingJob, attempt: int, beginning: Beginning, defaults: TrainerDefaults
) -> dict[str, Any]:
    """Return the Indexed Job of one attempt."""
    workers = job.spec.workers.count
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": child_metadata(job, attempt),
        "spec": {
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": CONTAINER_NAME, "operator": "NotIn", "values": [0]},
                    },
                ]
            },
            "template": pod_template(job, attempt, beginning, defaults),
        },
    }
