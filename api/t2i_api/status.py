"""The status of a job: facts, written by the operator alone, at most every 10 s unless something but progress changed.

Conditions follow the Kubernetes API conventions. Unknown fields are kept as they are, so that an older operator can
read what a newer one wrote, and does not take from it what an attempt begins with.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from t2i_api.base import KeptModel
from t2i_api.fields import LongText, ShortText, keyed_by
from t2i_api.findings import MAXIMUM_FINDINGS, Finding

MAXIMUM_LISTED_NAMES = 16
ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(KeptModel):
    """meta/v1 Condition."""

    type: str = Field(min_length=1, max_length=64, description="Name of the condition. Example: Succeeded.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(min_length=1, max_length=128, description="CamelCase constant. Example: Completed.")
    message: str = Field(default="", max_length=4096, description="What it means and what to do.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    observed_generation: int = Field(default=0, ge=0, description="metadata.generation that this was said of.")


class VerdictKind(StrEnum):
    """What a stored checkpoint is to this job."""

    IDENTICAL = "identical"
    RENAMED = "renamed"
    PARTIAL = "partial"
    ADAPTER = "adapter"
    INFERENCE_ONLY = "inference-only"
    FOREIGN = "foreign"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"


class ShapeMismatchStatus(KeptModel):
    """A parameter with two shapes."""

    name: ShortText = Field(description="Parameter name.")
    stored: list[int] = Field(max_length=8, description="Shape in the checkpoint.")
    wanted: list[int] = Field(max_length=8, description="Shape that the job asks for.")


class SkippedStatus(KeptModel):
    """Checkpoints that were passed over for one reason."""

    reason: str = Field(max_length=128, description="CamelCase constant. Example: NotCommitted.")
    count: int = Field(ge=0, description="How many.")
    newest: ShortText = Field(description="Folder of the newest of them.")
    verdict: VerdictKind | None = Field(default=None, description="What they are to this job.")
    explanation: ShortText = Field(default="", description="What is said of the newest of them.")


Names = Annotated[list[ShortText], Field(max_length=MAXIMUM_LISTED_NAMES)]


class CheckpointStatus(KeptModel):
    """The verdict of the last preflight."""

    verdict: VerdictKind | None = Field(
        default=None, description="Verdict of the decisive checkpoint; absent: none lies there."
    )
    reason: str = Field(default="", max_length=128, description="CamelCase constant.")
    explanation: LongText = Field(default="", description="The verdict in one sentence.")
    name: ShortText | None = Field(default=None, description="Folder of the checkpoint that was judged.")
    step: int | None = Field(default=None, ge=0, description="Step of that checkpoint.")
    matched: int = Field(default=0, ge=0, description="Parameters equal in name and shape.")
    missing: int = Field(default=0, ge=0, description="Parameters that the job asks for and the checkpoint lacks.")
    unexpected: int = Field(default=0, ge=0, description="Parameters that only the checkpoint has.")
    mismatched: int = Field(default=0, ge=0, description="Parameters of equal name and other shape.")
    matched_parameter_share: float = Field(
        default=0.0, ge=0, le=1, description="Share of the job's parameters that match."
    )
    first_missing: Names = Field(default=[], description="First names that the checkpoint lacks.")
    first_unexpected: Names = Field(default=[], description="First names that only the checkpoint has.")
    first_mismatched: list[ShapeMismatchStatus] = Field(
        default=[], max_length=MAXIMUM_LISTED_NAMES, description="First parameters with both shapes."
    )
    uri: ShortText | None = Field(
        default=None, description="Where it lies, if not in checkpoint.uri: model.initialWeights.uri."
    )
    stored_model: ShortText = Field(
        default="", description="What the checkpoint is. Example: home-made UNet, 4 levels of 64-256 channels."
    )
    skipped: int = Field(default=0, ge=0, description="Newer checkpoints that were passed over.")
    skipped_reasons: list[SkippedStatus] = Field(
        default=[], max_length=MAXIMUM_LISTED_NAMES, description="Why.", json_schema_extra=keyed_by("reason")
    )
    judged_for_attempt: int = Field(default=0, ge=0, description="Attempt that this preflight was made for.")
    judged_at: datetime | None = Field(default=None, description="When.")
    bytes_read: int = Field(default=0, ge=0, description="Bytes the preflight read.")
    requests: int = Field(default=0, ge=0, description="Requests the preflight made.")


class ArchiveStatus(KeptModel):
    """The last archive."""

    location: ShortText = Field(
        description="Folder below checkpoint.uri. Example: archive/20251214T221758Z-custom-unet."
    )
    checkpoints: int = Field(default=0, ge=0, description="Checkpoints in it.")
    objects: int = Field(default=0, ge=0, description="Objects in it.")
    bytes: int = Field(default=0, ge=0, description="Bytes in it.")
    bytes_done: int = Field(default=0, ge=0, description="Bytes copied so far.")
    method: str = Field(default="", max_length=32, description="Move or Reference.")
    bytes_per_second: int | None = Field(default=None, ge=0, description="Speed of the copy.")
    eta: str = Field(default="", max_length=32, description="Time left. Example: 3m12s.")
    warning: LongText = Field(
        default="", description="What the store does not honour, and what was done instead; empty: nothing to say."
    )
    completed_at: datetime | None = Field(default=None, description="When it was committed and the source deleted.")


class InitialWeightsStatus(KeptModel):
    """Weights that an attempt began with at step 0; persisted before its pods exist."""

    uri: ShortText = Field(description="Location: checkpoint.uri or model.initialWeights.uri.")
    endpoint: ShortText | None = Field(default=None, description="S3 server of that location; absent: AWS.")
    region: str | None = Field(default=None, max_length=64, description="Region of that location.")
    credentials_secret: str | None = Field(
        default=None, max_length=253, description="Secret that reads them; absent: the job's own credentials."
    )
    folder: ShortText = Field(default="", description="Folder or file below uri; empty: uri itself is the checkpoint.")
    verdict: VerdictKind = Field(description="What they were judged to be.")
    allow_partial: bool = Field(default=False, description="Whether what they lack starts fresh.")
    fresh: int = Field(default=0, ge=0, description="Parameters that start fresh.")


class AttemptStatus(KeptModel):
    """The newest attempt; its number is persisted before its children exist."""

    number: int = Field(ge=0, description="Attempt number, from 1.")
    resume_from: ShortText | None = Field(default=None, description="Checkpoint folder it resumes; absent: step 0.")
    resumed_from_step: int | None = Field(default=None, ge=0, description="Step it resumes at.")
    initial_weights: InitialWeightsStatus | None = Field(
        default=None, description="Weights it begins with at step 0; absent: seeded random ones, or a resume."
    )
    started_at: datetime | None = Field(default=None, description="When it was decided.")
    running_since: datetime | None = Field(default=None, description="When all its pods ran.")
    finished_at: datetime | None = Field(default=None, description="When it was over.")
    outcome: str | None = Field(default=None, max_length=64, description="How it ended. Example: PodKilled.")

    @property
    def began_with(self) -> str | None:
        """Name the checkpoint or the weights; None: seeded random ones."""
        weights = self.initial_weights
        return self.resume_from if weights is None else f"{weights.uri}/{weights.folder}"[:1024]


class RestartRecord(KeptModel):
    """One restart."""

    attempt: int = Field(ge=1, description="Attempt that ended.")
    cause: str = Field(max_length=64, description="CamelCase constant. Example: PodKilled.")
    at: datetime = Field(description="When.")
    counted: bool = Field(default=True, description="Whether it counts against failurePolicy.maxRestarts.")
    began_with: ShortText | None = Field(
        default=None, description="Checkpoint or weights that the attempt began with; absent: step 0."
    )


class RestartStatus(KeptModel):
    """Restarts so far."""

    total: int = Field(default=0, ge=0, description="All restarts.")
    disruptions: int = Field(default=0, ge=0, description="Of these, disruptions, which do not count.")
    recent: list[RestartRecord] = Field(default=[], max_length=64, description="The newest restarts, oldest first.")


class ProgressStatus(KeptModel):
    """How far training is, as last reported by rank 0."""

    step: int = Field(default=0, ge=0, description="Optimizer steps done.")
    target_steps: int = Field(default=0, ge=0, description="Steps that the job asks for.")
    percentage: str = Field(default="0%", max_length=8, description="Share of the steps. Example: 42%.")
    loss: float | None = Field(default=None, description="Loss of the last global batch.")
    loss_smoothed: float | None = Field(default=None, description="Smoothed loss.")
    loss_text: str = Field(default="", max_length=16, description="The smoothed loss for the LOSS column.")
    images_per_second: float | None = Field(default=None, ge=0, description="Throughput of the whole job.")
    eta: str = Field(default="", max_length=32, description="Time left. Example: 3h12m.")
    last_checkpoint: ShortText | None = Field(default=None, description="Folder of the last committed checkpoint.")
    last_checkpoint_step: int | None = Field(default=None, ge=0, description="Its step.")
    last_checkpoint_at: datetime | None = Field(default=None, description="When it was committed.")
    last_samples: str | None = Field(default=None, max_length=2048, description="URI of the last sample grid.")
    findings: list[Finding] = Field(
        default=[],
        max_length=MAXIMUM_FINDINGS,
        description="What the run noticed about itself; the first of each name.",
        json_schema_extra=keyed_by("name"),
    )
    advanced_at: datetime | None = Field(default=None, description="When the step counter last moved.")
    updated_at: datetime | None = Field(default=None, description="When this was reported.")


class JobStatus(KeptModel):
    """What is."""

    observed_generation: int = Field(default=0, ge=0, description="metadata.generation of the last reconcile.")
    conditions: list[Condition] = Field(
        default=[], max_length=16, description="Conditions by type.", json_schema_extra=keyed_by("type")
    )
    message: LongText = Field(default="", description="What is going on, in one sentence.")
    gpus: int = Field(default=0, ge=0, description="GPUs that the job asks for.")
    checkpoint: CheckpointStatus | None = Field(default=None, description="Verdict of the last preflight.")
    archive: ArchiveStatus | None = Field(default=None, description="The last archive.")
    attempt: AttemptStatus | None = Field(default=None, description="The newest attempt.")
    restarts: RestartStatus = Field(default=RestartStatus(), description="Restarts so far.")
    progress: ProgressStatus | None = Field(default=None, description="Progress as last reported.")

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, if it was ever set."""
        return next((condition for condition in self.conditions if condition.type == type_), None)
