"""What a checkpoint holds in a few figures and phrases, for `t2i checkpoint inspect`. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2i_checkpoint.contents import Contents

_MOST_NOTES = 16


@dataclass(frozen=True)
class ContentsSummary:
    """What a checkpoint holds, for people; `weights` is the file or folder part that the weights are in.

    `parameters` counts elements; `dtypes` as safetensors spells them, most elements first; `ema` and `optimizer` are
    phrases, None where there is none; `notes` name what else lies there.
    """

    weights: str | None = None
    tensors: int = 0
    parameters: int = 0
    dtypes: tuple[str, ...] = ()
    ema: str | None = None
    optimizer: str | None = None
    notes: tuple[str, ...] = ()


def summarise(contents: Contents) -> ContentsSummary:
    """Return the summary of what was read; empty where nothing could be."""
    elements: Counter[str] = Counter()
    for tensor in contents.weights.values():
        elements[tensor.dtype] += math.prod(tensor.shape)
    return ContentsSummary(
        weights=contents.weights_path,
        tensors=len(contents.weights),
        parameters=elements.total(),
        dtypes=tuple(dtype for dtype, _ in elements.most_common()),
        ema=_ema(contents),
        optimizer=_optimizer(contents),
        notes=() if contents.other is None else contents.other.holds[:_MOST_NOTES],
    )


def _ema(contents: Contents) -> str | None:
    if contents.ema is not None:
        return f"an average of {len(contents.ema)} tensors"
    if contents.resume is not None and contents.resume.ema is not None:
        return f"an average of {len(contents.resume.ema)} tensors"
    return None if contents.average_path is None else f"{contents.average_path} (not read)"


def _optimizer(contents: Contents) -> str | None:
    if contents.other is not None:
        return None if contents.other.optimizer is None else contents.other.optimizer.described
    if contents.resume is None or contents.resume.optimizer is None:
        return None
    return f"AdamW state of {len(contents.resume.optimizer)} tensors"
