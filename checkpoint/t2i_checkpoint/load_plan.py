"""Which stored tensor goes into which parameter: the one way in which initial weights are loaded.

The plan is made by the very comparison that gave the verdict, from a fresh look; nothing of the tensors is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_checkpoint.inspect import Judgement, judge_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.tensors import AnyTensor
    from t2i_checkpoint.verdict import Verdict, Wanted


@dataclass(frozen=True)
class LoadPlan:
    """Wanted name -> where its bytes are, for `tensors.read_tensor`.

    `weights` covers every wanted parameter but those in `fresh`, which keep their random values. `ema` covers the same
    names, or is None where the checkpoint has no average that fits. `described` is a sentence for logs.
    """

    judgement: Judgement
    weights: Mapping[str, AnyTensor]
    ema: Mapping[str, AnyTensor] | None
    fresh: tuple[str, ...]
    described: str


class NotLoadableError(Exception):
    """The checkpoint cannot give this job its initial weights; `verdict` says why."""

    def __init__(self, folder: str, verdict: Verdict, way_out: str) -> None:
        super().__init__(f"{folder or 'it'} is {verdict.kind}: {verdict.explanation}. {way_out}")
        self.verdict = verdict


def load_plan(store: Store, folder: Judgement | str, wanted: Wanted, *, allow_partial: bool) -> LoadPlan:
    """Plan the loading of a checkpoint folder or single file (relative to the store's root, empty: the root itself).

    Raises NotLoadableError where the verdict is not one of identical, renamed, inference-only and (if `allow_partial`)
    partial; StoreError where the listing fails.
    """
    judgement = judge_folder(store, folder if isinstance(folder, str) else folder.folder, wanted)
    if not judgement.verdict.usable_as_initial_weights or not allow_partial:
        raise NotLoadableError(judgement.folder, judgement.verdict, "Choose other weights")
    raise NotImplementedError
