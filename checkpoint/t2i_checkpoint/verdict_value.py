"""The answer: a verdict with everything that a condition, an event, a table or a load plan needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.reasons import Reason

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import ShapeMismatch
    from t2i_checkpoint.facts import MeaningDifference
    from t2i_checkpoint.renaming import Renaming

_USABLE = {VerdictKind.IDENTICAL, VerdictKind.RENAMED, VerdictKind.PARTIAL, VerdictKind.INFERENCE_ONLY}


@dataclass(frozen=True)
class Verdict:
    """What a stored checkpoint is to a job.

    `missing`, `unexpected` and `mismatched` are complete and in order; `matched_parameter_share` is the share of the
    wanted parameters' elements that agree in name and shape, 0 to 1. `label` is a word for an archive's name,
    `stored_model` a phrase that says what the checkpoint is; `renaming` maps stored names to wanted ones where they
    differ; `fresh` names the wanted parameters that a partial checkpoint cannot give. `loadable` is False where the
    tensors' bytes cannot be put together by this program.
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
    loadable: bool = True

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
        return self.kind in _USABLE and self.loadable and self.reason != Reason.NOT_COMPARED
