"""What stands between fitting weights of our own layout and an exact resume: state, then the run's identity. Pure.

The trainer's restore asks the same; a checkpoint that passes here is resumed bit-exactly there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.optimizer import optimizer_fault, rename_moments
from t2i_checkpoint.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.facts import ResumeState, RunIdentity
    from t2i_checkpoint.renaming import Renaming


@dataclass(frozen=True)
class Obstacle:
    """The first thing that does not fit, with the way out in its sentence."""

    reason: Reason
    sentence: str


def first_obstacle(
    resume: ResumeState, model: Architecture, renaming: Renaming | None, run: RunIdentity | None
) -> Obstacle | None:
    """Return what forbids an exact resume, or None; `model` has the wanted names, `renaming` leads to them."""
    names = {} if renaming is None else renaming.names
    keeps_names = renaming is None or renaming.keeps_names
    fault = _optimizer_fault(resume, model, names, keeps_names=keeps_names)
    if fault is not None:
        return _state(Reason.OPTIMIZER_DIFFERS, f"the optimizer state does not: {fault}")
    fault = _ema_fault(resume.ema, model, names)
    if fault is not None:
        return _state(Reason.EMA_DIFFERS, f"the average of the weights (EMA) does not: {fault}")
    if resume.missing_files:
        return _state(Reason.RESUME_STATE_MISSING, f"{', '.join(resume.missing_files)} is not in its manifest")
    return None if run is None else _identity(resume, run)


def _state(reason: Reason, what: str) -> Obstacle:
    return Obstacle(reason, f"the weights fit, {what}; usable as initial weights only")


def _optimizer_fault(
    resume: ResumeState, model: Architecture, names: Mapping[str, str], *, keeps_names: bool
) -> str | None:
    order = tuple(names.get(name, name) for name in resume.parameter_order)
    if not keeps_names and sorted(order) == sorted(model.names):
        order = model.names  # moments are found by name: another order of modules is no obstacle
    if resume.optimizer is None or not names:
        return optimizer_fault(resume.optimizer, order, model)
    try:
        return optimizer_fault(rename_moments(resume.optimizer, names), order, model)
    except ValueError as error:  # two would get the same name
        return str(error)


def _ema_fault(ema: Architecture | None, model: Architecture, names: Mapping[str, str]) -> str | None:
    if ema is None:
        return "there is none"
    try:
        renamed = Architecture((names.get(name, name), p) for name, p in ema.parameters.items()) if names else ema
    except ValueError as error:  # two would get the same name
        return str(error)
    difference = renamed.diff(model)
    if difference.mismatched:
        return str(difference.mismatched[0])
    if difference.missing:
        return f"{len(difference.missing)} tensors are missing, the first is {difference.missing[0]}"
    if difference.unexpected:
        return f"{len(difference.unexpected)} tensors are unexpected, the first is {difference.unexpected[0]}"
    return None


def _identity(resume: ResumeState, run: RunIdentity) -> Obstacle | None:
    held = resume.run
    if held is not None and held.seed != run.seed:
        return Obstacle(
            Reason.SEED_DIFFERS,
            f"everything fits but the seed: it was trained with {held.seed}, the job asks for {run.seed}; "
            f"set training.seed to {held.seed} for an exact resume",
        )
    if held is not None and held.global_batch_size != run.global_batch_size:
        return Obstacle(
            Reason.GLOBAL_BATCH_SIZE_DIFFERS,
            f"everything fits but the global batch size: it was trained with {held.global_batch_size}, the job asks "
            f"for {run.global_batch_size}; set training.globalBatchSize to {held.global_batch_size} for an exact "
            "resume",
        )
    expected = resume.step * run.global_batch_size
    if resume.samples_seen != expected:
        return Obstacle(
            Reason.SAMPLES_SEEN_DIFFERS,
            f"everything fits but the samples seen: {resume.samples_seen} at step {resume.step}, batches of "
            f"{run.global_batch_size} make {expected}; the batch size changed on the way, no exact resume is possible",
        )
    return None
