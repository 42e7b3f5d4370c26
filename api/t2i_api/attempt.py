"""What an attempt is made of: the names, labels, paths and document that operator and trainer agree on.

An attempt is one try at running a job's pods. Its number is persisted in the job's status before its children exist.
"""

from typing import Final, Self

from pydantic import Field, model_validator

from t2i_api.base import WireModel
from t2i_api.fields import LocationUri
from t2i_api.status import VerdictKind

GROUP: Final = "training.t2i.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "DiffusionTrainingJob"
PLURAL: Final = "diffusiontrainingjobs"

LABEL_JOB: Final = f"{GROUP}/job-name"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
ANNOTATION_CHECKPOINT: Final = f"{GROUP}/resumed-from"

CONFIGURATION_DIRECTORY: Final = "/etc/t2i"
JOB_FILE: Final = "job.yaml"
ATTEMPT_FILE: Final = "attempt.json"
SCRATCH_DIRECTORY: Final = "/scratch"
TERMINATION_LOG: Final = "/dev/termination-log"

RENDEZVOUS_PORT: Final = 29500
METRICS_PORT: Final = 9400
CONTAINER_NAME: Final = "trainer"
GPU_RESOURCE: Final = "nvidia.com/gpu"

DEVICE_VARIABLE: Final = "T2I_DEVICE"
# Where the trainer keeps what may outlive a pod: what torch.compile made, copies of data. Absent: its scratch space.
CACHE_VARIABLE: Final = "T2I_CACHE_DIRECTORY"
CACHE_DIRECTORY: Final = "/cache"
# Where a pod sees the volumes that its job reads: a folder each, named like the claim.
CLAIMS_DIRECTORY: Final = "/claims"
# For how many seconds at most a pod that has ended stays to be scraped once more. Absent: not at all.
LINGER_VARIABLE: Final = "T2I_LINGER_SECONDS"
INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
# Prefix of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, if initialWeights has a Secret of its own.
INITIAL_WEIGHTS_VARIABLES: Final = "T2I_INITIAL_WEIGHTS_"


def child_name(job_name: str, attempt: int) -> str:
    """Return the name of the Job, Service and ConfigMap of an attempt: `emoji-2`."""
    return f"{job_name}-{attempt}"


def labels(job_name: str, attempt: int) -> dict[str, str]:
    """Return the labels that every child of an attempt carries."""
    return {
        LABEL_JOB: job_name,
        LABEL_ATTEMPT: str(attempt),
        "app.kubernetes.io/name": "t2i-trainer",
        "app.kubernetes.io/instance": job_name,
        "app.kubernetes.io/managed-by": "t2i-operator",
    }


class InitialWeightsDocument(WireModel):
    """Weights that an attempt begins with at step 0, as the operator judged them; the trainer loads exactly these."""

    uri: LocationUri = Field(description="Location that was judged: checkpoint.uri or model.initialWeights.uri.")
    endpoint: str | None = Field(default=None, max_length=1024, description="S3 server; null: AWS.")
    region: str | None = Field(default=None, max_length=64)
    folder: str = Field(
        default="", max_length=1024, description="Folder or file below uri; empty: uri itself is the checkpoint."
    )
    verdict: VerdictKind = Field(description="What the operator judged them to be.")
    allow_partial: bool = Field(
        default=False, description="Whether parameters that they lack may start fresh; else the trainer refuses."
    )


class AttemptDocument(WireModel):
    """`attempt.json`: what the operator decided for one attempt; the trainer follows it to the letter."""

    job_name: str = Field(min_length=1, max_length=253)
    job_namespace: str = Field(min_length=1, max_length=63)
    job_uid: str = Field(min_length=1, max_length=64)
    attempt: int = Field(ge=1)
    workers: int = Field(ge=1, description="Pods.")
    processes_per_worker: int = Field(ge=1, description="Processes in each pod, one a GPU.")
    resume_from: str | None = Field(default=None, max_length=512, description="Checkpoint folder name; null: step 0.")
    initial_weights: InitialWeightsDocument | None = Field(
        default=None, description="Weights to begin with at step 0; null: seeded random ones, or a resume."
    )
    rendezvous_address: str = Field(min_length=1, max_length=253, description="Host name of pod 0.")
    rendezvous_port: int = Field(default=RENDEZVOUS_PORT, ge=1, le=65535)
    metrics_port: int = Field(default=METRICS_PORT, ge=1, le=65535)

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.resume_from is not None and self.initial_weights is not None:
            raise ValueError("an attempt resumes (resumeFrom) or begins with initialWeights, never both")
        return self

    @property
    def world_size(self) -> int:
        """Processes of the whole attempt."""
        return self.workers * self.processes_per_worker

    @property
    def writer(self) -> str:
        """Suffix of the checkpoint folders that this attempt writes: two writers never share a folder."""
        return f"{self.job_uid.replace('-', '')[:8]}-a{self.attempt}"
