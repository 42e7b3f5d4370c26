"""Does a stored checkpoint fit the job? `compare` is pure and total: every `Stored` has exactly one `Verdict`.

Names and shapes decide, never the text of an exception and never a config file's claim. Weights that fit but mean
something else (prediction type, noise schedule, latent scale, null embedding) differ, and the verdict names how.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.explain import explain_difference
from t2i_checkpoint.facts import (
    Fault,
    Meaning,
    MeaningDifference,
    OptimizerFacts,
    OtherProgram,
    ResumeState,
    RunIdentity,
    Stored,
    Wanted,
)
from t2i_checkpoint.optimizer import optimizer_fault
from t2i_checkpoint.recognise import recognise

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import ArchitectureDifference, ShapeMismatch
    from t2i_checkpoint.renaming import Renaming

__all__ = [
    "Fault",
    "Meaning",
    "MeaningDifference",
    "OptimizerFacts",
    "OtherProgram",
    "Reason",
    "ResumeState",
    "RunIdentity",
    "Stored",
    "Verdict",
    "Wanted",
    "compare",
]


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
    NAMES_CONVERTIBLE = "NamesConvertible"
    MOST_PARAMETERS_MATCH = "MostParametersMatch"
    ADAPTER_WEIGHTS = "AdapterWeights"
    RESUME_STATE_OF_ANOTHER_PROGRAM = "ResumeStateOfAnotherProgram"
    RESUME_STATE_MISSING = "ResumeStateMissing"
    EMA_DIFFERS = "EmaDiffers"
    SEED_DIFFERS = "SeedDiffers"
    GLOBAL_BATCH_SIZE_DIFFERS = "GlobalBatchSizeDiffers"
    SAMPLES_SEEN_DIFFERS = "SamplesSeenDiffers"
    MODEL_CONFIG_DIFFERS = "ModelConfigDiffers"
    ARCHITECTURE_NOT_DERIVABLE = "ArchitectureNotDerivable"
    NOT_LOADABLE = "NotLoadable"
    NOT_COMPARED = "NotCompared"


@dataclass(frozen=True)
class Verdict:
    """The answer, with everything that a condition, an event or a table needs.

    `missing`, `unexpected` and `mismatched` are complete and in order; `matched_parameter_share` is the share of the
    wanted parameters' elements that agree in name and shape, 0 to 1. `label` is a word for an archive's name,
    `stored_model` a phrase that says what the checkpoint is; `renaming` maps stored names to wanted ones where they
    differ; `fresh` names the wanted parameters that a partial checkpoint cannot give.
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
    stored_model: str = ""
    renaming: Renaming | None = None
    fresh: tuple[str, ...] = ()
    exact_resume: bool = False

    @property
    def resumable(self) -> bool:
        """Whether training may go on from exactly here, under other names if `renaming` says so."""
        return self.kind is VerdictKind.IDENTICAL or (self.kind is VerdictKind.RENAMED and self.exact_resume)

    @property
    def archivable(self) -> bool:
        """Whether moving it away is right: it was read completely and cannot be resumed by this job."""
        return self.kind in {VerdictKind.FOREIGN, VerdictKind.PARTIAL}

    @property
    def usable_as_initial_weights(self) -> bool:
        """Whether `load_plan` can begin a run at step 0 with its weights (PARTIAL: only if that is allowed)."""
        usable = {VerdictKind.IDENTICAL, VerdictKind.RENAMED, VerdictKind.PARTIAL, VerdictKind.INFERENCE_ONLY}
        return self.kind in usable and self.reason not in {Reason.NOT_LOADABLE, Reason.NOT_COMPARED}


def compare(stored: Stored, wanted: Wanted) -> Verdict:
    """Judge what is stored against what is wanted."""
    if stored.fault is not None:
        return Verdict(stored.fault.kind, stored.fault.reason, stored.fault.detail)
    if stored.architecture is None or not len(stored.architecture):
        return Verdict(VerdictKind.INCOMPLETE, "NoWeights", "there are no weights in it")
    architecture = stored.architecture.without_wrapper_prefix()
    if not wanted.is_derived:
        detail = "the names and shapes that the job asks for cannot be derived from its config; left alone"
        return Verdict(VerdictKind.UNREADABLE, Reason.ARCHITECTURE_NOT_DERIVABLE, detail)
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
    differences = resume.meaning.differences(wanted.meaning)
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
