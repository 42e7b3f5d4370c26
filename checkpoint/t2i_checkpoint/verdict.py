"""Does a stored checkpoint fit the job? `compare` is pure and total: every `Stored` has exactly one `Verdict`.

Names and shapes decide, never the text of an exception and never a config file's claim. Weights that fit but mean
something else (prediction type, noise schedule, latent scale, null embedding) differ, and the verdict names how.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.describe import model_phrase
from t2i_checkpoint.explain import explain_difference, explain_renaming
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
from t2i_checkpoint.reasons import MEANING_REASONS, Reason
from t2i_checkpoint.recognise import ModelFamily, recognise
from t2i_checkpoint.renaming import Renaming, RenamingName, translate
from t2i_checkpoint.resume_obstacles import first_obstacle
from t2i_checkpoint.tensors import LOADABLE
from t2i_checkpoint.torch_optimizer import order_fault
from t2i_checkpoint.verdict_value import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.architecture import ArchitectureDifference

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

PARTIAL_SHARE = 0.5  # of the wanted parameters' elements


def compare(stored: Stored, wanted: Wanted, phrase: Callable[[Architecture], str] = model_phrase) -> Verdict:
    """Judge what is stored against what is wanted; `phrase` says what a stored model is (a caller may remember)."""
    if stored.fault is not None:
        return Verdict(stored.fault.kind, stored.fault.reason, stored.fault.detail)
    architecture = stored.architecture
    if architecture is None or not len(architecture):
        return Verdict(VerdictKind.INCOMPLETE, Reason.NO_WEIGHTS, "there are no weights in it")
    if not wanted.is_derived:
        fault = _config_fault(stored.resume, wanted)
        if fault is not None:
            return fault
        wanted = replace(wanted, architecture=_in_order(architecture, stored.resume))
    fit = _fit(architecture, wanted.architecture)
    if stored.resume is None and stored.not_loadable is None:
        stored = replace(stored, not_loadable=_dtype_fault(fit.model, wanted.architecture))
    base = Verdict(
        VerdictKind.FOREIGN,
        Reason.NAMES_DIFFER,
        "",
        matched=fit.difference.matched,
        missing=fit.difference.missing,
        unexpected=fit.difference.unexpected,
        mismatched=fit.difference.mismatched,
        matched_parameter_share=fit.difference.matched_parameter_share,
        label=recognise(architecture).value,
        stored_model=phrase(architecture),
        renaming=fit.renaming,
        loadable=stored.not_loadable is None,
    )
    if not fit.difference.is_empty:
        return _differs(base, fit, stored, wanted)
    if stored.resume is not None:
        return _judge_own(base, stored.resume, wanted)
    return _judge_other(base, stored, wanted)


@dataclass(frozen=True)
class _Fit:
    """The stored model under the wanted names; `renaming` is None where nothing is renamed."""

    model: Architecture
    difference: ArchitectureDifference
    renaming: Renaming | None


def _fit(stored: Architecture, wanted: Architecture) -> _Fit:
    plain = stored.diff(wanted)
    if plain.is_empty:
        return _Fit(stored, plain, None)
    renaming = translate(stored, wanted)
    model = renaming.apply(stored)
    return _Fit(model, model.diff(wanted), None if renaming.name is RenamingName.NONE else renaming)


def _dtype_fault(model: Architecture, wanted: Architecture) -> str | None:
    """Say which tensor holds codes of a quantised model in place of weights, or None; `model` has the wanted names."""
    for name in wanted:
        dtype = model.parameters[name].dtype if name in model else None
        if dtype is not None and dtype not in LOADABLE:
            return f"{name} is stored as {dtype}, which only its own scheme can read: save the weights dequantised"
    return None


def _config_fault(resume: ResumeState | None, wanted: Wanted) -> Verdict | None:
    """Judge a model that only its builder knows: what the trainer wrote of its config has to be the job's."""
    held = None if resume is None else resume.model_config_sha256
    if held is None or wanted.model_config_sha256 is None:
        detail = (
            "the names and shapes that the job asks for cannot be derived from its config, and the checkpoint does not "
            "tell which config it was trained with; it is left where it is"
        )
        return Verdict(VerdictKind.UNREADABLE, Reason.ARCHITECTURE_NOT_DERIVABLE, detail)
    if held != wanted.model_config_sha256:
        detail = "it was trained with another model config than the job's"
        return Verdict(VerdictKind.FOREIGN, Reason.MODEL_CONFIG_DIFFERS, detail, label="other-model-config")
    return None


def _in_order(stored: Architecture, resume: ResumeState | None) -> Architecture:
    """Return the stored model in the order of its parameters: a file's own order is another."""
    order = stored.names if resume is None else resume.parameter_order
    if sorted(order) != sorted(stored.names):
        return stored
    return Architecture((name, stored.parameters[name]) for name in order)


def _differs(base: Verdict, fit: _Fit, stored: Stored, wanted: Wanted) -> Verdict:
    same_names = not base.missing and not base.unexpected
    reason = Reason.SHAPES_DIFFER if same_names else Reason.NAMES_DIFFER
    explanation = explain_difference(fit.model, wanted.architecture, fit.difference, fit.renaming)
    meant = () if stored.resume is None else stored.resume.meaning.differences(wanted.meaning)
    if meant:
        explanation = "; ".join([explanation, *map(str, meant)])
    elif base.matched_parameter_share >= PARTIAL_SHARE:
        fresh = {*base.missing, *(mismatch.name for mismatch in base.mismatched)}
        agree = f"{_percent(base.matched_parameter_share)} of the parameters agree: {explanation}"
        return replace(
            base,
            kind=VerdictKind.PARTIAL,
            reason=Reason.MOST_PARAMETERS_MATCH,
            explanation=agree if stored.not_loadable is None else f"{agree}; {stored.not_loadable}",
            fresh=tuple(name for name in wanted.architecture if name in fresh),
        )
    elif base.label == ModelFamily.ADAPTER:
        explanation = "an adapter (LoRA), not a model: merge it into its base model to begin a run with it"
        return replace(base, kind=VerdictKind.ADAPTER, reason=Reason.ADAPTER_WEIGHTS, explanation=explanation)
    return replace(base, reason=reason, explanation=explanation, meaning_differences=meant)


def _judge_own(base: Verdict, resume: ResumeState, wanted: Wanted) -> Verdict:
    meant = resume.meaning.differences(wanted.meaning)
    if meant:
        first = meant[0].field
        return replace(
            base,
            reason=MEANING_REASONS[first],
            explanation="same names and shapes with another meaning: " + "; ".join(map(str, meant)),
            meaning_differences=meant,
            label=f"other-{first.removesuffix('_sha256').replace('_', '-')}",
        )
    held, asked = resume.model_config_sha256, wanted.model_config_sha256
    if held is not None and asked is not None and held != asked:
        explanation = (
            "names and shapes fit, but it was trained with another model config (heads, groups, activation or the like "
            "do not show in shapes); set model.unet back to what it was for an exact resume"
        )
        reason = Reason.MODEL_CONFIG_DIFFERS
        return replace(base, kind=VerdictKind.INFERENCE_ONLY, reason=reason, explanation=explanation)
    obstacle = first_obstacle(resume, wanted.architecture, base.renaming, wanted.run)
    if obstacle is not None:
        return replace(base, kind=VerdictKind.INFERENCE_ONLY, reason=obstacle.reason, explanation=obstacle.sentence)
    agree = f"all {base.matched} tensors agree in name and shape, as do optimizer, average and meaning"
    if base.renaming is None or base.renaming.keeps_names:
        under = "" if base.renaming is None else f" ({base.renaming.described})"
        return replace(
            base,
            kind=VerdictKind.IDENTICAL,
            reason=Reason.NAMES_AND_SHAPES_MATCH,
            explanation=agree + under,
            exact_resume=True,
        )
    return replace(
        base,
        kind=VerdictKind.RENAMED,
        reason=Reason.NAMES_CONVERTIBLE,
        explanation=f"{explain_renaming(base.renaming)}; optimizer and average are renamed with the weights",
        exact_resume=True,
    )


def _judge_other(base: Verdict, stored: Stored, wanted: Wanted) -> Verdict:
    other = stored.other or OtherProgram()
    if stored.not_loadable is not None:
        explanation = f"names and shapes fit, but {stored.not_loadable}"
        return replace(base, kind=VerdictKind.INFERENCE_ONLY, reason=Reason.NOT_LOADABLE, explanation=explanation)
    if base.renaming is not None and not base.renaming.keeps_names:
        explanation = f"{explain_renaming(base.renaming)}; usable as initial weights, not for an exact resume"
        return replace(base, kind=VerdictKind.RENAMED, reason=Reason.NAMES_CONVERTIBLE, explanation=explanation)
    state = "optimizer, data position and random state are not in t2i's format"
    reason = Reason.WEIGHTS_WITHOUT_RESUME_STATE
    if other.resumes:
        reason = Reason.RESUME_STATE_OF_ANOTHER_PROGRAM
        state = f"the rest is another program's: {_resume_state(other, wanted)}"
    explanation = (
        f"names and shapes fit, but {state}; usable as initial weights, not for an exact resume; it is left where it is"
    )
    return replace(base, kind=VerdictKind.INFERENCE_ONLY, reason=reason, explanation=explanation)


def _resume_state(other: OtherProgram, wanted: Wanted) -> str:
    """Say what lies there, and whether that program's optimizer would fit."""
    if other.optimizer is None:
        return ", ".join(other.holds[:3])
    fault = order_fault(other.optimizer, wanted.architecture)
    fits = "fits in order and shapes" if fault is None else f"does not fit ({fault})"
    return f"its {other.optimizer.described} {fits}"


def _percent(share: float) -> str:
    """Return a share in percent that never rounds up to all of it."""
    return f"{int(share * 1000) / 10:g} %"
