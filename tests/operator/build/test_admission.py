"""The real API server takes what we build, in a namespace that enforces the restricted Pod Security Standard."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import InitialWeightsStatus, VerdictKind
from t2i_dev.cluster import LocalCluster
from t2i_dev.errors import ComponentFailedError
from t2i_operator.build import Beginning, TrainerDefaults, children

pytestmark = pytest.mark.cluster

JobWith = Callable[..., DiffusionTrainingJob]
BEGINNING = Beginning(
    initial_weights=InitialWeightsStatus(uri="s3://models/sd", credentials_secret="models", verdict=VerdictKind.RENAMED)
)
NAMESPACE = "restricted-builds"

EVERYTHING: dict[str, Any] = {
    "labels": {"team": "vision"},
    "annotations": {"owner": "ada"},
    "nodeSelector": {"gpu": "h100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
    "resources": {"cpu": "500m", "memory": "4Gi", "sharedMemory": "2Gi"},
    "imagePullSecrets": [{"name": "registry"}],
    "cacheClaim": "t2i-cache",
    "sourceClaims": ["laion", "a" * 100 + ".models"],
    "terminationGracePeriodSeconds": 300,
}
JOBS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "cpu only": {"spec.workers": {"count": 1, "gpusPerWorker": 0}},
    "everything of the template": {"spec.workers.template": EVERYTHING},
    "credentials": {
        "spec.checkpoint.credentialsSecretRef": {"name": "bucket"},
        "spec.checkpoint.region": "eu-central-1",
    },
    "longest name": {"metadata.name": "a" * 40},
}


@pytest.fixture(scope="module")
def namespace(control_plane: LocalCluster) -> Iterator[str]:
    """A namespace in which a pod that is not restricted is refused."""
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    yield NAMESPACE
    control_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def dry_run(cluster: LocalCluster, document: dict[str, Any]) -> dict[str, Any]:
    output = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-",
        stdin=json.dumps(document),
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(output)
    return answer


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the pod that the Job controller would make: admission looks at pods, not at templates."""
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": job["metadata"]["name"], "namespace": job["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("changes", JOBS.values(), ids=JOBS.keys())
def test_every_object_and_every_pod_is_admitted(
    control_plane: LocalCluster, namespace: str, job_with: JobWith, changes: dict[str, Any]
) -> None:
    job = job_with({"metadata.namespace": namespace, **changes})
    built = children(job, attempt=12, beginning=BEGINNING, defaults=TrainerDefaults(image="t2i-trainer:1"))
    for document in built:
        answer = dry_run(control_plane, document)
        assert answer["metadata"]["name"] == document["metadata"]["name"]
    pod = dry_run(control_plane, pod_of(built[-1]))
    assert pod["spec"]["containers"][0]["name"] == "trainer"


def test_the_namespace_refuses_what_is_not_restricted(
    control_plane: LocalCluster, namespace: str, job_with: JobWith
) -> None:
    # Without this, the test above could pass in a namespace that enforces nothing.
    job = children(
        job_with({"metadata.namespace": namespace}),
        attempt=1,
        beginning=Beginning(),
        defaults=TrainerDefaults(image="x"),
    )[-1]
    pod = pod_of(job)
    del pod["spec"]["securityContext"]["runAsNonRoot"]
    with pytest.raises(ComponentFailedError, match="violates PodSecurity"):
        dry_run(control_plane, pod)
