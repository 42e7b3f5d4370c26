"""What a run notices about itself: one sentence each, in the log, the metrics, the progress document and the report.

A finding never stops a run; what does stop one is an exit code (`t2i_api.progress`). Names are open: a reader that is
older than the trainer shows a name that it does not know like any other.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from t2i_api.base import StatusModel

MAXIMUM_FINDINGS: Final = 16
MAXIMUM_SENTENCE: Final = 480


class Severity(StrEnum):
    """How sure we are that the run cannot become what it is meant to be."""

    WARNING = "Warning"
    ERROR = "Error"


class FindingName(StrEnum):
    """Every finding of this version."""

    SCHEDULE_UNUSABLE = "ScheduleUnusable"
    SCHEDULE_MISMATCH = "ScheduleMismatch"
    TARGET_SCALE = "TargetScale"
    INITIAL_LOSS = "InitialLoss"
    LATENT_SCALE = "LatentScale"
    OUTPUT_LAYER_STUCK = "OutputLayerStuck"
    FROZEN_WEIGHTS = "FrozenWeights"
    NO_WEIGHT_MOVES = "NoWeightMoves"
    LEARNING_RATE = "LearningRate"
    EMA_STUCK = "EmaStuck"
    TRIVIAL_ANSWER = "TrivialAnswer"
    QUARTILE_STUCK = "QuartileStuck"
    NULL_EMBEDDING_UNSEEN = "NullEmbeddingUnseen"
    CAPTIONS_IGNORED = "CaptionsIgnored"
    CAPTIONS_DO_NOT_HELP = "CaptionsDoNotHelp"
    RANK_NOISE_EQUAL = "RankNoiseEqual"
    RANK_WEIGHTS_DIFFER = "RankWeightsDiffer"
    REPEATED_DATA = "RepeatedData"
    NON_FINITE_STEP = "NonFiniteStep"
    LOSS_SPIKE = "LossSpike"
    ROLLED_BACK = "RolledBack"
    NO_EARLIER_CHECKPOINT = "NoEarlierCheckpoint"
    OUTSIDE_EXPECTATIONS = "OutsideExpectations"


def _known_severity(value: object) -> object:
    return value if value in tuple(Severity) else Severity.WARNING


class Finding(StatusModel):
    """Something that was noticed, with its likely cause and the way out."""

    name: str = Field(
        max_length=64, pattern=r"^[A-Z][A-Za-z0-9]{0,63}$", description="CamelCase. Example: LatentScale."
    )
    severity: Annotated[Severity, BeforeValidator(_known_severity)] = Severity.WARNING
    step: int = Field(ge=0, description="Optimizer step at which it was noticed; 0: before the first.")
    sentence: str = Field(min_length=1, max_length=MAXIMUM_SENTENCE, description="What, why probably, and what to do.")


def remember(known: Iterable[Finding], new: Finding) -> list[Finding]:
    """Return the findings with a new one: the first of each name is kept; of too many, the last warnings go first."""
    kept = [*known]
    if all(each.name != new.name for each in kept):
        kept.append(new)
    while len(kept) > MAXIMUM_FINDINGS:
        weakest = next((each for each in reversed(kept) if each.severity is Severity.WARNING), kept[-1])
        kept.remove(weakest)
    return kept
