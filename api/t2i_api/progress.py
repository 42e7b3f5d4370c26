"""What a trainer says of itself: the `/progress` document, the exit status and the termination message.

The operator polls the first while pods run and reads the last two when they end, so that no step is lost in between.
"""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from pydantic import Field

from t2i_api.base import StatusModel
from t2i_api.findings import MAXIMUM_FINDINGS, MAXIMUM_SENTENCE, Finding
from t2i_api.status import VerdictKind

MAXIMUM_PROGRESS_BYTES: Final = 64 * 1024
# The kubelet cuts the message of a container at 4096 bytes and that of a pod at 12 KiB.
MAXIMUM_TERMINATION_BYTES: Final = 4096
MAXIMUM_FRESH_NAMES: Final = 10


class ExitCode(IntEnum):
    """Exit status of the trainer's pods; 1 (a crash) and 128 + signal are what the system itself reports."""

    SUCCEEDED = 0
    CRASHED = 1
    BAD_CONFIGURATION = 20
    INCOMPATIBLE_WEIGHTS = 21
    WORLD_SIZE_MISMATCH = 22
    DATA_INVALID = 23
    OUT_OF_MEMORY = 24
    NON_FINITE_LOSS = 25
    STORAGE_UNAVAILABLE = 26
    PEER_LOST = 27
    INTERRUPTED = 28


class TrainerPhase(StrEnum):
    """What rank 0 is doing right now."""

    STARTING = "Starting"
    TRAINING = "Training"
    SAVING = "Saving"
    SAMPLING = "Sampling"
    FINISHED = "Finished"


class WarmStart(StatusModel):
    """The weights that the run began with at step 0; all names of fresh tensors are in every checkpoint's manifest."""

    uri: str = Field(max_length=2048, description="Location: checkpoint.uri or model.initialWeights.uri.")
    folder: str = Field(default="", max_length=1024, description="Folder or file below it; empty: the location itself.")
    step: int | None = Field(default=None, ge=0, description="Step that they were trained to, if known.")
    verdict: VerdictKind
    loaded: int = Field(ge=0, description="Tensors that were taken.")
    fresh: int = Field(default=0, ge=0, description="Tensors that started from random values.")
    fresh_names: list[str] = Field(
        default=[], max_length=MAXIMUM_FRESH_NAMES, description="The first of them, in the model's order."
    )


class Progress(StatusModel):
    """The `/progress` document of rank 0, and the last word in a termination message."""

    attempt: int = Field(ge=1)
    world_size: int = Field(ge=1)
    phase: TrainerPhase = TrainerPhase.STARTING
    step: int = Field(default=0, ge=0, description="Optimizer steps done since step 0 of the run.")
    target_steps: int = Field(ge=1)
    resumed_from_step: int | None = Field(default=None, ge=0)
    warm_start: WarmStart | None = Field(default=None, description="Absent: the run began with random weights.")
    loss: float | None = Field(default=None, description="Mean over the last global batch.")
    loss_smoothed: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    images_per_second: float | None = Field(default=None, ge=0)
    seconds_per_step: float | None = Field(default=None, ge=0)
    eta_seconds: float | None = Field(default=None, ge=0)
    samples_seen: int = Field(default=0, ge=0)
    last_checkpoint: str | None = Field(
        default=None, max_length=512, description="Folder of the last committed checkpoint."
    )
    last_checkpoint_step: int | None = Field(default=None, ge=0)
    last_checkpoint_at: datetime | None = None
    last_samples: str | None = Field(default=None, max_length=2048, description="URI of the last sample grid.")
    findings: list[Finding] = Field(
        default=[], max_length=MAXIMUM_FINDINGS, description="What the run noticed about itself; one a name, the first."
    )
    as_expected: bool | None = Field(
        default=None, description="Whether the loss lies within spec.expectations; absent: no band is due."
    )
    expectation: str | None = Field(
        default=None, max_length=MAXIMUM_SENTENCE, description="The sentence that goes with asExpected."
    )
    updated_at: datetime


class TerminationMessage(StatusModel):
    """The JSON that a pod leaves in its termination log."""

    exit_code: ExitCode
    reason: str = Field(min_length=1, max_length=64, description="CamelCase, from the exit code.")
    message: str = Field(max_length=2048, description="One sentence: what happened and what to do.")
    rank: int | None = Field(default=None, ge=0)
    progress: Progress | None = None

    def to_log(self) -> str:
        """Return the text for the termination log, cut so that the kubelet keeps it whole."""
        bare = self.progress and self.progress.model_copy(
            update={"last_samples": None, "warm_start": None, "findings": [], "expectation": None}
        )
        shorter = (
            self,
            self.model_copy(update={"progress": self._with_findings(3)}),
            self.model_copy(update={"message": self.message[:500], "progress": self._with_findings(1)}),
            self.model_copy(update={"message": self.message[:200], "progress": bare}),
        )
        texts = [said.model_dump_json(by_alias=True, exclude_none=True) for said in shorter]
        return next((text for text in texts if len(text.encode()) <= MAXIMUM_TERMINATION_BYTES), texts[-1])

    def _with_findings(self, count: int) -> Progress | None:
        return self.progress and self.progress.model_copy(update={"findings": self.progress.findings[:count]})


def reason_of(code: ExitCode) -> str:
    """Return the CamelCase reason of an exit status: `IncompatibleWeights`."""
    return "".join(word.capitalize() for word in code.name.split("_"))
