"""The pod template: restricted by default (Pod Security Standards), changed only where the spec allows it."""

from dataclasses import dataclass
from typing import Any

from t2i_api.attempt import (
    ANNOTATION_CHECKPOINT,
    CACHE_DIRECTORY,
    CACHE_VARIABLE,
    CLAIMS_DIRECTORY,
    CONFIGURATION_DIRECTORY,
    CONTAINER_NAME,
    GPU_RESOURCE,
    INITIAL_WEIGHTS_VARIABLES,
    LINGER_VARIABLE,
    METRICS_PORT,
    RENDEZVOUS_PORT,
    SCRATCH_DIRECTORY,
    TERMINATION_LOG,
    child_name,
    labels,
)
from t2i_api.job import DiffusionTrainingJob
from t2i_api.spec_run import PodTemplate
from t2i_operator.build.beginning import Beginning
from t2i_operator.build.defaults import TrainerDefaults

USER_ID = 65532
_CREDENTIAL_KEYS = (("AWS_ACCESS_KEY_ID", False), ("AWS_SECRET_ACCESS_KEY", False), ("AWS_SESSION_TOKEN", True))


def pod_template(
    job: DiffusionTrainingJob, attempt: int, beginning: Beginning, defaults: TrainerDefaults
) -> dict[str, Any]:
    """Return the template of every pod of an attempt; our labels and annotations win over the user's."""
    template = job.spec.workers.template
    annotations = {
        **template.annotations,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
    }
    if beginning.resume_from is not None:
        annotations[ANNOTATION_CHECKPOINT] = beginning.resume_from
    return {
        "metadata": {
            "labels": {**template.labels, **labels(job.metadata.name, attempt)},
            "annotations": annotations,
        },
        "spec": _pod_spec(job, attempt, beginning, defaults),
    }


def _pod_spec(
    job: DiffusionTrainingJob, attempt: int, beginning: Beginning, defaults: TrainerDefaults
) -> dict[str, Any]:
    template = job.spec.workers.template
    name = child_name(job.metadata.name, attempt)
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "subdomain": name,
        # Workload identities bring a projected token of their own; none needs the API server.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": template.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, attempt, beginning, defaults)],
        "volumes": [
            {"name": "configuration", "configMap": {"name": name}},
            {"name": "scratch", "emptyDir": {}},
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": template.resources.shared_memory},
            },
            *({"name": claim.volume, "persistentVolumeClaim": claim.source} for claim in _claims(template)),
        ],
    }
    return {**spec, **_placement(template)}


@dataclass(frozen=True)
class _Claim:
    """A PersistentVolumeClaim as volume and mount.

    `read_only` stands in both: kubelet leaves the owners of a read-only volume's files alone, else `fsGroup` changes
    them one by one, which takes hours for millions of pictures.
    """

    volume: str
    name: str
    path: str
    read_only: bool

    @property
    def source(self) -> dict[str, Any]:
        return {"claimName": self.name, **self._access}

    @property
    def mount(self) -> dict[str, Any]:
        return {"name": self.volume, "mountPath": self.path, **self._access}

    @property
    def _access(self) -> dict[str, Any]:
        return {"readOnly": True} if self.read_only else {}


def _claims(template: PodTemplate) -> list[_Claim]:
    # A claim's name may be too long for a volume's.
    sources = [
        _Claim(f"source-{number}", name, f"{CLAIMS_DIRECTORY}/{name}", read_only=True)
        for number, name in enumerate(template.source_claims)
    ]
    if template.cache_claim is None:
        return sources
    return [_Claim("cache", template.cache_claim, CACHE_DIRECTORY, read_only=False), *sources]


def _placement(template: PodTemplate) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "nodeSelector": template.node_selector,
        "tolerations": [toleration.to_wire() for toleration in template.tolerations],
        "serviceAccountName": template.service_account_name,
        "priorityClassName": template.priority_class_name,
        "imagePullSecrets": [reference.to_wire() for reference in template.image_pull_secrets],
    }
    return {key: value for key, value in optional.items() if value}


def _container(
    job: DiffusionTrainingJob, attempt: int, beginning: Beginning, defaults: TrainerDefaults
) -> dict[str, Any]:
    template = job.spec.workers.template
    return {
        "name": CONTAINER_NAME,
        "image": job.spec.workers.image or defaults.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(job, attempt, beginning, defaults),
        "ports": [
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            {"name": "rendezvous", "containerPort": RENDEZVOUS_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(job),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "configuration", "mountPath": CONFIGURATION_DIRECTORY, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH_DIRECTORY},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108  # where torch expects shared memory
            *(claim.mount for claim in _claims(template)),
        ],
    }


def _environment(
    job: DiffusionTrainingJob, attempt: int, beginning: Beginning, defaults: TrainerDefaults
) -> list[dict[str, Any]]:
    name = child_name(job.metadata.name, attempt)
    ours: dict[str, str] = {
        "MASTER_ADDR": f"{name}-0.{name}",
        "MASTER_PORT": str(RENDEZVOUS_PORT),
        "HOME": SCRATCH_DIRECTORY,
        "TMPDIR": SCRATCH_DIRECTORY,
        "PYTHONUNBUFFERED": "1",
    }
    if job.spec.workers.template.cache_claim is not None:
        ours[CACHE_VARIABLE] = CACHE_DIRECTORY
    if job.spec.checkpoint.region is not None:
        ours["AWS_REGION"] = job.spec.checkpoint.region
    given = {variable.name for variable in job.spec.workers.template.env}
    # A pod that waits to be scraped takes no steps: it must not look like one that hangs.
    linger = min(defaults.linger_seconds, job.spec.failure_policy.stall_seconds / 2)
    if linger > 0 and LINGER_VARIABLE not in given:
        ours[LINGER_VARIABLE] = f"{linger:g}"
    environment: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in ours.items()]
    environment += [
        {"name": variable.name, "value": variable.value}
        for variable in job.spec.workers.template.env
        if variable.name not in ours
    ]
    reference = job.spec.checkpoint.credentials_secret_ref
    if reference is not None:
        environment += _credentials(reference.name)
    weights = beginning.initial_weights
    if weights is not None and weights.credentials_secret is not None:
        environment += _credentials(weights.credentials_secret, prefix=INITIAL_WEIGHTS_VARIABLES)
    return environment


def _credentials(secret: str, *, prefix: str = "") -> list[dict[str, Any]]:
    """Return references into a Secret of the pod's, and so of the job's, own namespace: its values pass us by."""
    return [
        {"name": prefix + key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": optional}}}
        for key, optional in _CREDENTIAL_KEYS
    ]


def _resources(job: DiffusionTrainingJob) -> dict[str, Any]:
    wanted = job.spec.workers.template.resources
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if wanted.cpu is not None:
        requests["cpu"] = wanted.cpu
    if wanted.memory is not None:
        requests["memory"] = limits["memory"] = wanted.memory
    if job.spec.workers.gpus_per_worker:
        requests[GPU_RESOURCE] = limits[GPU_RESOURCE] = str(job.spec.workers.gpus_per_worker)
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
