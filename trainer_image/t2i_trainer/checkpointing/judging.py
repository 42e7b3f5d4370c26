"""What the shared verdict code says of a checkpoint, as the trainer acts on it: go on, or end with an exit status.

Operator and trainer ask the same code the same question; there are no checks of the trainer's own to disagree with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from t2i_api.progress import ExitCode
from t2i_checkpoint.inspect import judge_folder
from t2i_checkpoint.wanted import wanted_from
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from t2i_api.job import JobSpec
    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.inspect import Judgement
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Verdict, Wanted

_SHOWN_NAMES = 3
# Only these say something of the store rather than of the checkpoint; after the others the operator judges again.
_STORE_REASONS = {
    "StoreUnavailable": ExitCode.STORAGE_UNAVAILABLE,
    "AccessDenied": ExitCode.BAD_CONFIGURATION,
}


def wanted_of(spec: JobSpec, model: Architecture) -> Wanted:
    """Return what the job asks for, with the names and shapes of the model that was really built."""
    return replace(wanted_from(spec), architecture=model)


def judge_resumable(store: Store, folder: str, wanted: Wanted) -> Judgement:
    """Judge `folder` afresh; raises TrainerError unless training may go on from exactly there."""
    judgement = judge_folder(store, folder, wanted)
    if not judgement.verdict.resumable:
        raise refused(folder, judgement.verdict)
    return judgement


def refused(folder: str, verdict: Verdict) -> TrainerError:
    """Return the error that ends an attempt whose checkpoint has this verdict."""
    code = _STORE_REASONS.get(verdict.reason, ExitCode.INCOMPATIBLE_WEIGHTS)
    return does_not_fit(
        folder, f"{verdict.explanation}{_first_names(verdict)} ({verdict.kind}: {verdict.reason})", code
    )


def does_not_fit(folder: str, what: str, code: ExitCode = ExitCode.INCOMPATIBLE_WEIGHTS) -> TrainerError:
    """Return the error that ends an attempt before anything was loaded."""
    return TrainerError(code, f"{folder} does not fit this job: {what}. No step was taken; nothing was changed")


def _first_names(verdict: Verdict) -> str:
    parts = [
        f"{len(names)} names {what}, e.g. {', '.join(names[:_SHOWN_NAMES])}"
        for what, names in (("missing", verdict.missing), ("unexpected", verdict.unexpected))
        if names
    ]
    if verdict.mismatched:
        shown = "; ".join(str(each) for each in verdict.mismatched[:_SHOWN_NAMES])
        parts.append(f"{len(verdict.mismatched)} shapes differ, e.g. {shown}")
    return f"; {'; '.join(parts)}" if parts else ""
