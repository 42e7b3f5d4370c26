"""What a stored checkpoint is, in one phrase; and its verdict when no job is there to hold it against. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.reasons import Reason
from t2i_checkpoint.rebuild import rebuild
from t2i_checkpoint.recognise import ModelFamily, recognise
from t2i_checkpoint.verdict_value import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.facts import Stored

_TWO_DIGITS = 10


def model_phrase(architecture: Architecture) -> str:
    """Return "SD 1.x UNet, 860 M, 4 channels in, cross-attention 768", or the family where nothing more is telling."""
    rebuilt = rebuild(architecture)
    if rebuilt is not None:
        return rebuilt.described
    millions = architecture.count / 1e6
    size = f"{millions:.0f} M" if millions >= _TWO_DIGITS else f"{millions:.2g} M"
    return f"{recognise(architecture).described}, {size} parameters in {len(architecture)} tensors"


def describe(stored: Stored, phrase: Callable[[Architecture], str] = model_phrase) -> Verdict:
    """Judge without a job: faults are told as always, everything else is NOT_COMPARED and never acted upon."""
    if stored.fault is not None:
        return Verdict(stored.fault.kind, stored.fault.reason, stored.fault.detail)
    if stored.architecture is None or not len(stored.architecture):
        return Verdict(VerdictKind.INCOMPLETE, Reason.NO_WEIGHTS, "there are no weights in it")
    family = recognise(stored.architecture)
    model = phrase(stored.architecture)
    is_adapter = family is ModelFamily.ADAPTER
    return Verdict(
        VerdictKind.ADAPTER if is_adapter else VerdictKind.INFERENCE_ONLY,
        Reason.NOT_COMPARED,
        f"{model}; not held against a job",
        label=family.value,
        stored_model=model,
    )
