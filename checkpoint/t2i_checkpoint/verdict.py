"""Does a stored checkpoint fit the job? `compare` is pure and total: every `Stored` has exactly one `Verdict`.

Names and shapes decide, never the text of an exception and never a config file's claim. Weights that fit but mean
something else (prediction type, noise schedule, latent scale, null embedding) differ, and the verdict names how.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.explain import explain_difference
from t2i_checkpoint.optimizer import optimizer_fault
from t2i_checkpoint.recognise import recognise

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture, ArchitectureDifference, ShapeMismatch


class Reason(StrEnum):
    """Why, as a constant for conditions; faults of headers and manifests bring their own constants besides these."""

    NAMES_AND_SHAPES_MATCH = "NamesAndShapesMatch"
    NAMES_DIFFER = "NamesDiffer"
    SHAPES_DIFFER = "ShapesDiffer"
    PREDICTION_TYPE_DIFFERS = "PredictionTypeDiffers"
    NOISE_SCHEDULE_DIFFERS = "NoiseScheduleDiffers"
    LATENT_SCALE_DIFFERS = "LatentScaleDiffers"
    NULL_EMBEDDING_DIFFERS = "NullEmbeddingDiffers"
    WEIGHTS_WITHOUT_RESUME_STATE = "WeightsWithoutResumeState"
    OPTIMIZER_DIFFERS = "OptimizerDiffers"


@dataclass(frozen=True)
class Meaning:
    """What the same tensors stand for; None for a null embedding that is not known here (then it is not compared)."""

    prediction_type: str
    noise_schedule: str
    latent_scale: float
    null_embedding_sha256: str | None = None


@dataclass(frozen=True)
class MeaningDifference:
    """One field of `Meaning` on which stored and wanted disagree."""

    field: str
    stored: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.field.replace('_', ' ')} is {self.stored}, the job asks for {self.wanted}"


@dataclass(frozen=True)
class Wanted:
    """What the job asks for."""

    architecture: Architecture
    meaning: Meaning


@dataclass(frozen=True)
class Fault:
    """Why a checkpoint could not be compared at all; `kind` is INCOMPLETE or UNREADABLE."""

    kind: VerdictKind
    reason: str
    detail: str


@dataclass(frozen=True)
class ResumeState:
    """What our own layout holds besides the weights: their meaning, the optimizer's tensors, the parameter order."""

    meaning: Meaning
    optimizer: Architecture | None
    parameter_order: tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """What was read: either a fault, or weights; `resume` only for checkpoints of our own layout."""

    architecture: Architecture | None
    resume: ResumeState | None = None
    fault: Fault | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer, with everything that a condition, an event or a table needs.

    `missing`, `unexpected` and `mismatched` are complete and in order; `matched_parameter_share` is the share of the
    wanted parameters' elements that agree in name and shape, 0 to 1. `label` is a word for an archive's name.
    """

    kind: VerdictKind
    reason: str
    explanation: str
    matched: int = 0
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[ShapeMismatch, ...] = ()
    matched_parameter_share: float = 0.0
    meaning_differences: tuple[MeaningDifference, ...] = ()
    label: str = "checkpoint"

    @property
    def resumable(self) -> bool:
        """Whether training may go on from exactly here."""
        return self.kind is VerdictKind.IDENTICAL

    @property
    def archivable(self) -> bool:
        """Whether moving it away is right: it was read completely and cannot serve this job."""
        return self.kind is VerdictKind.FOREIGN


def compare(stored: Stored, wanted: Wanted) -> Verdict:
    """Judge what is stored against what is wanted."""
    if stored.fault is not None:
        return Verdict(stored.fault.kind, stored.fault.reason, stored.fault.detail)
    if stored.architecture is None or not len(stored.architecture):
        return Verdict(VerdictKind.INCOMPLETE, "NoWeights", "there are no weights in it")
    architecture = stored.architecture.without_wrapper_prefix()
    difference = architecture.diff(wanted.architecture)
    label = recognise(architecture).value
    if not difference.is_empty:
        same_names = not difference.missing and not difference.unexpected
        reason = Reason.SHAPES_DIFFER if same_names else Reason.NAMES_DIFFER
        explanation = explain_difference(architecture, wanted.architecture, difference)
        return _verdict(VerdictKind.FOREIGN, reason, explanation, difference, label)
    if stored.resume is None:
        explanation = (
            "names and shapes fit, but optimizer, data position and random state are not in t2i's format: "
            "usable as initial weights, not for an exact resume; it is left where it is"
        )
        reason = Reason.WEIGHTS_WITHOUT_RESUME_STATE
        return _verdict(VerdictKind.INFERENCE_ONLY, reason, explanation, difference, label)
    return _judge_resume(stored.resume, wanted, difference, label)


def _judge_resume(resume: ResumeState, wanted: Wanted, difference: ArchitectureDifference, label: str) -> Verdict:
    differences = _meaning_differences(resume.meaning, wanted.meaning)
    if differences:
        first = differences[0].field
        return Verdict(
            VerdictKind.FOREIGN,
            _MEANING_REASONS[first],
            "same names and shapes with another meaning: " + "; ".join(map(str, differences)),
            matched=difference.matched,
            matched_parameter_share=difference.matched_parameter_share,
            meaning_differences=differences,
            label=f"other-{first.removesuffix('_sha256').replace('_', '-')}",
        )
    fault = optimizer_fault(resume.optimizer, resume.parameter_order, wanted.architecture)
    if fault is not None:
        explanation = f"the weights fit, the optimizer state does not: {fault}; usable as initial weights only"
        return _verdict(VerdictKind.INFERENCE_ONLY, Reason.OPTIMIZER_DIFFERS, explanation, difference, label)
    explanation = f"all {difference.matched} tensors agree in name and shape, as do optimizer and meaning"
    return _verdict(VerdictKind.IDENTICAL, Reason.NAMES_AND_SHAPES_MATCH, explanation, difference, label)


_MEANING_REASONS = {
    "prediction_type": Reason.PREDICTION_TYPE_DIFFERS,
    "noise_schedule": Reason.NOISE_SCHEDULE_DIFFERS,
    "latent_scale": Reason.LATENT_SCALE_DIFFERS,
    "null_embedding_sha256": Reason.NULL_EMBEDDING_DIFFERS,
}


def _meaning_differences(stored: Meaning, wanted: Meaning) -> tuple[MeaningDifference, ...]:
    found = []
    for field in fields(Meaning):
        held, asked = getattr(stored, field.name), getattr(wanted, field.name)
        if held is not None and asked is not None and held != asked:
            found.append(MeaningDifference(field.name, str(held), str(asked)))
    return tuple(found)


def _verdict(
    kind: VerdictKind, reason: Reason, explanation: str, difference: ArchitectureDifference, label: str
) -> Verdict:
    return Verdict(
        kind,
        reason,
        explanation,
        matched=difference.matched,
        missing=difference.missing,
        unexpected=difference.unexpected,
        mismatched=difference.mismatched,
        matched_parameter_share=difference.matched_parameter_share,
        label=label,
    )
