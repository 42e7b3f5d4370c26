"""Which stored tensor goes into which parameter: the one way in which initial weights are loaded.

The plan is made by the very comparison that gave the verdict, from a fresh look; nothing of the tensors is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.inspect import Judgement, read_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.tensors import AnyTensor, TensorTable
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
    judgement, contents = read_folder(store, folder if isinstance(folder, str) else folder.folder, wanted)
    verdict = judgement.verdict
    if not verdict.usable_as_initial_weights:
        raise NotLoadableError(judgement.folder, verdict, _way_out(verdict))
    if verdict.kind is VerdictKind.PARTIAL and not allow_partial:
        way_out = "Set checkpoint.onIncompatible to WarmStart to begin with what agrees, or choose other weights"
        raise NotLoadableError(judgement.folder, verdict, way_out)
    names = None if verdict.renaming is None else verdict.renaming.names
    weights = _select(contents.weights, names, wanted.architecture, verdict.fresh)
    ema = None if contents.ema is None else _select(contents.ema, names, wanted.architecture, verdict.fresh)
    if ema is not None and set(ema) != set(weights):
        ema = None
    return LoadPlan(judgement, weights, ema, verdict.fresh, _described(verdict, len(weights), ema is not None))


def _select(
    table: TensorTable, names: Mapping[str, str] | None, wanted: Architecture, fresh: tuple[str, ...]
) -> dict[str, AnyTensor]:
    """Return the wanted tensors in the wanted order; only those whose shape is the wanted one, whatever was planned."""
    without = set(fresh)
    renamed = table if names is None else {names[name]: tensor for name, tensor in table.items() if name in names}
    return {
        name: renamed[name]
        for name, parameter in wanted.parameters.items()
        if name not in without and name in renamed and renamed[name].shape == parameter.shape
    }


def _described(verdict: Verdict, count: int, with_ema: bool) -> str:  # noqa: FBT001  # one call site
    parts = [f"{count} tensors of {verdict.stored_model}"]
    if verdict.renaming is not None:
        parts.append(verdict.renaming.described)
    if verdict.fresh:
        parts.append(f"{len(verdict.fresh)} parameters are not in it and start from random values")
    parts.append(
        "with its average (EMA)" if with_ema else "without an average (EMA): it begins as a copy of the weights"
    )
    return "; ".join(parts)


def _way_out(verdict: Verdict) -> str:
    if verdict.kind is VerdictKind.ADAPTER:
        return "Merge the adapter into its base model and give the merged weights"
    if verdict.kind is VerdictKind.FOREIGN:
        return "Choose weights of the job's model, or set model.unet to what is stored"
    return "Choose other weights"
