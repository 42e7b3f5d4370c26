"""`DiffusionTrainingJob`: the custom resource, whole; the single source of the CRD, the docs and every reader.

The spec groups live in `spec_model.py` (what is trained), `spec_training.py` (how), `spec_run.py` (where it runs) and
`spec_watch.py` (what it watches of itself), the status in `status.py`.
"""

from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from t2i_api.attempt import CLAIMS_DIRECTORY, GROUP, KIND
from t2i_api.base import StatusModel, WireModel
from t2i_api.fields import IMMUTABLE_BECAUSE, rules
from t2i_api.spec_model import Data, Model
from t2i_api.spec_run import Checkpoint, FailurePolicy, Workers
from t2i_api.spec_training import Diffusion, Sampling, Training
from t2i_api.spec_watch import Evaluation, Expectations
from t2i_api.status import JobStatus

API_VERSION: Final = "training.t2i.dev/v1alpha1"
MAXIMUM_NAME_LENGTH: Final = 40
DEFAULT_CONTROLLER: Final = f"{GROUP}/t2i-operator"

_WEIGHTS_MESSAGE: Final = (
    "model.initialWeights.uri must not be what this job resumes by itself (checkpoint.uri and its checkpoints/): name another "
    "job's checkpoint, or one below archive/"
)
_WEIGHTS_RULE: Final = (
    "!has(self.model.initialWeights)"
    " || (has(self.model.initialWeights.endpoint)"
    " && !(has(self.checkpoint.endpoint) && self.checkpoint.endpoint == self.model.initialWeights.endpoint))"
    " || !((self.model.initialWeights.uri + '/').replace('//', '/') == (self.checkpoint.uri + '/').replace('//', '/')"
    " || (self.model.initialWeights.uri + '/').replace('//', '/')"
    ".startsWith((self.checkpoint.uri + '/checkpoints/').replace('//', '/')))"
)

_CLAIMS_URI: Final = f"file://{CLAIMS_DIRECTORY}/"


def _mounted(field: str, *, unless: str = "false") -> tuple[str, str]:
    """Return the CEL rule that a source on a claim's volume is mounted, and its message; `unless`: there is no field."""
    named = f"self.workers.template.sourceClaims.exists(claim, (self.{field} + '/').startsWith('{_CLAIMS_URI}' + claim + '/'))"
    rule = f"{unless} || !self.{field}.startsWith('{_CLAIMS_URI}') || {named}"
    return rule, f"{field} lies on a claim that pods do not mount: name it in workers.template.sourceClaims"


class JobSpec(WireModel):
    """What the user asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.training.globalBatchSize % (self.workers.count * (self.workers.gpusPerWorker > 0 ? self.workers.gpusPerWorker : 1)) == 0",
                "training.globalBatchSize must be a multiple of workers.count x workers.gpusPerWorker, so that every process gets equally many images",
            ),
            (
                "!has(self.training.microBatchSize) || self.training.globalBatchSize % (self.workers.count * (self.workers.gpusPerWorker > 0 ? self.workers.gpusPerWorker : 1) * self.training.microBatchSize) == 0",
                "training.microBatchSize must divide a process's share, training.globalBatchSize / (workers.count x workers.gpusPerWorker): every forward pass has equally many images",
            ),
            (
                "self.checkpoint.everySteps <= self.training.steps",
                "checkpoint.everySteps must not exceed training.steps: the run would end without a checkpoint on the way",
            ),
            (
                "!has(self.sampling.everySteps) || size(self.sampling.prompts) > 0",
                "sampling.everySteps needs sampling.prompts: write at least one prompt to draw",
            ),
            (
                "self.data.resolution % self.model.pixelUnshuffleFactor == 0",
                "data.resolution must be a multiple of model.pixelUnshuffleFactor",
            ),
            (
                "has(self.model.vae) || !has(self.model.unet.config) || !has(self.model.unet.config.sample_size) || self.model.unet.config.sample_size * self.model.pixelUnshuffleFactor == self.data.resolution",
                "model.unet.config.sample_size x model.pixelUnshuffleFactor must equal data.resolution in pixel space",
            ),
            (
                "self.model.unet == oldSelf.model.unet && self.model.textEncoder == oldSelf.model.textEncoder && self.model.pixelUnshuffleFactor == oldSelf.model.pixelUnshuffleFactor && has(self.model.vae) == has(oldSelf.model.vae) && (!has(self.model.vae) || self.model.vae == oldSelf.model.vae)",
                f"model {IMMUTABLE_BECAUSE}",
            ),
            (_WEIGHTS_RULE, _WEIGHTS_MESSAGE),
            _mounted("data.uri"),
            _mounted("model.textEncoder.uri"),
            _mounted("model.vae.uri", unless="!has(self.model.vae)"),
            ("self.diffusion == oldSelf.diffusion", f"diffusion {IMMUTABLE_BECAUSE}"),
            (
                "self.data.uri == oldSelf.data.uri && self.data.resolution == oldSelf.data.resolution",
                f"data.uri and data.resolution {IMMUTABLE_BECAUSE}",
            ),
            (
                "has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)",
                "managedBy cannot change: two controllers would run the same job. Delete the job and create it anew",
            ),
        )
    )

    model: Model = Field(description="What is trained.")
    data: Data = Field(description="Captioned pictures.")
    diffusion: Diffusion = Field(default=Diffusion(), description="Forward process and prediction.")
    training: Training = Field(description="How long and how fast.")
    sampling: Sampling = Field(default=Sampling(), description="Pictures drawn on the way.")
    checkpoint: Checkpoint = Field(description="Where checkpoints lie.")
    workers: Workers = Field(default=Workers(), description="Pods and GPUs.")
    failure_policy: FailurePolicy = Field(default=FailurePolicy(), description="When to try again.")
    evaluation: Evaluation = Field(default=Evaluation(), description="A loss curve without sampling noise.")
    expectations: Expectations = Field(
        default=Expectations(),
        description="Bands that the loss is expected in; leaving one warns, and never stops a job.",
    )
    suspend: bool = Field(
        default=False,
        description="True stops the pods after a checkpoint and keeps the job; false goes on. Default false.",
    )
    managed_by: str | None = Field(
        default=None, min_length=1, max_length=253, description=f"Controller of this job. Default {DEFAULT_CONTROLLER}."
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="Seconds after which a finished job is deleted; its bucket stays. Default never.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.training.global_batch_size % self.workers.world_size:
            raise ValueError(
                f"training.globalBatchSize {self.training.global_batch_size} must be a multiple of the world size {self.workers.world_size}"
            )
        micro = self.training.micro_batch_size or 1
        if self.training.global_batch_size % (self.workers.world_size * micro):
            raise ValueError(
                f"training.microBatchSize {micro} must divide a process's share of {self.training.global_batch_size // self.workers.world_size} images"
            )
        if self.data.resolution % self.model.pixel_unshuffle_factor:
            raise ValueError("data.resolution must be a multiple of model.pixelUnshuffleFactor")
        if self._resumes_its_initial_weights():
            raise ValueError(_WEIGHTS_MESSAGE)
        for field, uri in self._sources():
            claim = uri.removeprefix(_CLAIMS_URI).partition("/")[0]
            if uri.startswith(_CLAIMS_URI) and claim not in self.workers.template.source_claims:
                raise ValueError(
                    f"{field} lies on claim {claim!r}, which pods do not mount: name it in workers.template.sourceClaims"
                )
        return self

    def _sources(self) -> list[tuple[str, str]]:
        """Fields and URIs of what pods only read."""
        vae = self.model.vae
        named = [("data.uri", self.data.uri), ("model.textEncoder.uri", self.model.text_encoder.uri)]
        return named if vae is None else [*named, ("model.vae.uri", vae.uri)]

    def _resumes_its_initial_weights(self) -> bool:
        weights, own = self.model.initial_weights, self.checkpoint.uri.rstrip("/")
        if weights is None or weights.endpoint not in {None, self.checkpoint.endpoint}:
            return False
        place = weights.uri.rstrip("/")
        return place == own or f"{place}/".startswith(f"{own}/checkpoints/")


class ObjectMetadata(StatusModel):
    """What we read of `metadata`."""

    name: str = Field(min_length=1, max_length=MAXIMUM_NAME_LENGTH)
    namespace: str = Field(default="default", max_length=63)
    uid: str = Field(default="local", max_length=64)
    generation: int = 1
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class DiffusionTrainingJob(StatusModel):
    """One job as the API server holds it, or as a file describes it."""

    api_version: Literal["training.t2i.dev/v1alpha1"] = API_VERSION
    kind: Literal["DiffusionTrainingJob"] = KIND
    metadata: ObjectMetadata
    spec: JobSpec
    status: JobStatus | None = None

    @classmethod
    def from_object(cls, document: dict[str, Any]) -> Self:
        """Read an object of the API server or a YAML document; raises pydantic.ValidationError."""
        return cls.model_validate(document)
