"""The spec groups that say where and how it runs: checkpoint, workers, failurePolicy."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from t2i_api.attempt import CLAIMS_DIRECTORY
from t2i_api.base import WireModel
from t2i_api.fields import (
    IMMUTABLE_BECAUSE,
    OBJECT_NAME_PATTERN,
    AnnotationText,
    ArchiveLabel,
    ImageReference,
    LabelText,
    LocationUri,
    Quantity,
    keyed_by,
    rules,
)
from t2i_api.spec_storage import Endpoint, Region, SecretReference


class OnIncompatible(StrEnum):
    """What happens to checkpoints that cannot fit the model."""

    ARCHIVE = "Archive"
    FAIL = "Fail"
    WARM_START = "WarmStart"


class ArchiveMethod(StrEnum):
    """How a checkpoint that does not fit is put away."""

    MOVE = "Move"
    REFERENCE = "Reference"


class ArchivePolicy(WireModel):
    """How checkpoints that do not fit are put away."""

    method: ArchiveMethod = Field(
        default=ArchiveMethod.MOVE,
        description="Move copies them below archive/, verifies every byte and deletes the source; Reference leaves the bytes and writes a pointer, whatever their size. A store on which a move is not safe gets Reference and a warning. Default Move.",
    )
    label: ArchiveLabel | None = Field(
        default=None,
        description="Last part of an archive's name, after the time. Default: what the checkpoint is. Example: before-attention-fix.",
    )


class Checkpoint(WireModel):
    """Where checkpoints lie, and what becomes of those that do not fit."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.uri == oldSelf.uri", f"checkpoint.uri {IMMUTABLE_BECAUSE}"),
            (
                "self.uri.startsWith('s3://')",
                "checkpoint.uri must be s3://bucket/prefix in a cluster: the operator cannot read a pod's files; file:// is for t2i-trainer on one machine",
            ),
        )
    )

    uri: LocationUri = Field(
        description="Prefix that this job owns: checkpoints, archive, samples and metrics lie below it. Example: s3://training/emoji."
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description="URL of an S3 server other than AWS. Default: AWS. Example: https://minio.storage.svc:9000.",
    )
    region: Region | None = Field(default=None, description="Region. Default us-east-1. Example: eu-central-1.")
    credentials_secret_ref: SecretReference | None = Field(
        default=None,
        description="Secret with keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN optional). Default: none; pods use their own identity then, and the operator only if it was installed with storage.ambientCredentials.",
    )
    every_steps: int = Field(
        default=1000, ge=1, le=100_000_000, description="Steps between checkpoints. Default 1000. Example: 5000."
    )
    retain: int = Field(default=3, ge=1, le=1000, description="Newest own checkpoints that are kept. Default 3.")
    on_incompatible: OnIncompatible = Field(
        default=OnIncompatible.ARCHIVE,
        description="Checkpoints that do not fit: Archive puts them away (see archive) and starts at step 0; Fail stops the job; WarmStart puts away what cannot serve and begins at step 0 with every parameter that agrees in name and shape. Default Archive.",
    )
    archive: ArchivePolicy = Field(default=ArchivePolicy(), description="How checkpoints that do not fit are put away.")


class EnvironmentVariable(WireModel):
    """A plain environment variable; secrets belong into a Secret."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.name.startsWith('AWS_') && !self.name.startsWith('T2I_INITIAL_WEIGHTS_') && !(self.name in ['MASTER_ADDR', 'MASTER_PORT', 'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'JOB_COMPLETION_INDEX'])",
                "workers.template.env: AWS_* comes from checkpoint.credentialsSecretRef, T2I_INITIAL_WEIGHTS_* from model.initialWeights and the rendezvous variables from the operator: remove this variable",
            ),
        )
    )

    name: str = Field(
        min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Name. Example: NCCL_DEBUG."
    )
    value: str = Field(default="", max_length=4096, description="Value. Default empty. Example: INFO.")


class TolerationOperator(StrEnum):
    """How a toleration matches a taint."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class Toleration(WireModel):
    """A taint that the pods tolerate (core/v1 Toleration)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.key) || self.operator == 'Exists'",
                "workers.template.tolerations: name a key, or write operator: Exists to tolerate every taint",
            ),
        )
    )

    key: str | None = Field(default=None, max_length=253, description="Taint key. Example: nvidia.com/gpu.")
    operator: TolerationOperator = Field(
        default=TolerationOperator.EQUAL, description="Equal or Exists. Default Equal."
    )
    value: str | None = Field(default=None, max_length=63, description="Taint value. Example: present.")
    effect: str | None = Field(
        default=None,
        max_length=32,
        pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$",
        description="Taint effect. Example: NoSchedule.",
    )


class Resources(WireModel):
    """CPU and memory of one pod; GPUs come from gpusPerWorker."""

    cpu: Quantity | None = Field(default=None, description="CPU request. Example: 8.")
    memory: Quantity | None = Field(default=None, description="Memory request and limit. Example: 64Gi.")
    shared_memory: Quantity = Field(default="1Gi", description="Size of /dev/shm, part of the memory. Default 1Gi.")


Labels = Annotated[dict[str, LabelText], Field(max_length=32)]
Annotations = Annotated[dict[str, AnnotationText], Field(max_length=32)]
ClaimName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)]


class PodTemplate(WireModel):
    """What of the pods a job may change."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.cacheClaim) || !(self.cacheClaim in self.sourceClaims)",
                "workers.template.cacheClaim is written to, sourceClaims are only read: name different claims",
            ),
        )
    )

    labels: Labels = Field(default={}, description="More labels of the pods. Example: {team: vision}.")
    annotations: Annotations = Field(default={}, description="More annotations of the pods. Example: {owner: ada}.")
    node_selector: Labels = Field(default={}, description="Node labels the pods need. Example: {gpu: h100}.")
    tolerations: list[Toleration] = Field(
        default=[],
        max_length=16,
        description="Taints that the pods tolerate.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    env: list[EnvironmentVariable] = Field(
        default=[], max_length=64, description="More environment of the trainer.", json_schema_extra=keyed_by("name")
    )
    resources: Resources = Field(default=Resources(), description="CPU and memory of one pod.")
    service_account_name: str | None = Field(
        default=None,
        max_length=253,
        pattern=OBJECT_NAME_PATTERN,
        description="Service account, for workload identity. Default: default.",
    )
    priority_class_name: str | None = Field(
        default=None,
        max_length=253,
        pattern=OBJECT_NAME_PATTERN,
        description="Priority class. Default none. Example: research.",
    )
    image_pull_secrets: list[SecretReference] = Field(
        default=[], max_length=8, description="Secrets to pull the image with.", json_schema_extra=keyed_by("name")
    )
    source_claims: list[ClaimName] = Field(
        default=[],
        max_length=8,
        description=f"PersistentVolumeClaims in the job's namespace that hold pictures, shards or models, mounted read-only at {CLAIMS_DIRECTORY}/<claim>: data.uri, model.textEncoder.uri and model.vae.uri may be file://{CLAIMS_DIRECTORY}/<claim>/folder. Readable by user or group 65532; ReadOnlyMany or ReadWriteMany for several pods. Default none. Example: [laion-shards].",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    cache_claim: ClaimName | None = Field(
        default=None,
        description="PersistentVolumeClaim in the job's namespace for what may outlive a pod: compiled kernels and copies of data; ReadWriteMany for several pods. Default none: it lives as long as the pod. Example: t2i-cache.",
    )
    termination_grace_period_seconds: int = Field(
        default=120,
        ge=1,
        le=3600,
        description="Seconds a pod has to save a checkpoint when it is asked to stop. Default 120.",
    )

    @model_validator(mode="after")
    def _one_use_a_claim(self) -> Self:
        if self.cache_claim in self.source_claims:
            raise ValueError("cacheClaim is written to, sourceClaims are only read: name different claims")
        if len(set(self.source_claims)) < len(self.source_claims):
            raise ValueError("sourceClaims holds a claim twice")
        return self


class Workers(WireModel):
    """The pods: one process a GPU, all of them one world."""

    count: int = Field(default=1, ge=1, le=1024, description="Pods. Default 1. Example: 8.")
    gpus_per_worker: int = Field(
        default=1,
        ge=0,
        le=16,
        description="GPUs and processes of one pod; 0: one process on CPU. Default 1. Example: 8.",
    )
    image: ImageReference | None = Field(
        default=None,
        description="Trainer image. Default: the one the operator was installed with. Example: registry.example/t2i-trainer:0.1.0.",
    )
    template: PodTemplate = Field(default=PodTemplate(), description="What of the pods to change.")

    @property
    def processes_per_worker(self) -> int:
        """Processes of one pod."""
        return max(1, self.gpus_per_worker)

    @property
    def world_size(self) -> int:
        """Processes of the whole job."""
        return self.count * self.processes_per_worker


class FailurePolicy(WireModel):
    """When to try again, and when to stop trying."""

    max_restarts: int = Field(
        default=10, ge=0, le=60, description="Restarts within the window; disruptions do not count. Default 10."
    )
    restart_window_seconds: int = Field(
        default=86400,
        ge=60,
        le=31_536_000,
        description="Window in which restarts are counted, seconds. Default 86400 (a day).",
    )
    max_skipped_steps: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="Steps whose loss is not finite, or spikes, that are left out within 1000 steps before the run goes back to its last checkpoint from before them, or the oldest kept. Default 10.",
    )
    max_rollbacks: int = Field(
        default=2, ge=0, le=100, description="Times a run goes back before it fails. Default 2. Example: 0."
    )
    stall_seconds: int = Field(
        default=1800,
        ge=30,
        le=86400,
        description="Seconds without a new step after which a running attempt is restarted. Default 1800.",
    )
    deadline_seconds: int | None = Field(
        default=None,
        ge=60,
        le=31_536_000,
        description="Seconds after creation when the job is failed. Default none. Example: 604800.",
    )
