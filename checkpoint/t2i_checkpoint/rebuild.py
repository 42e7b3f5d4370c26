"""What a stored model *is*, told from its names and shapes alone: a short phrase, and a config where one follows. Pure.

A config is given only where deriving names and shapes from it gives exactly the stored ones. What leaves no trace in
shapes (number of heads, groups, activation) takes the published model's value, or the largest usual one that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.architecture import Architecture


@dataclass(frozen=True)
class RebuiltModel:
    """A model rebuilt from shapes.

    `described` is one phrase ("SD 1.x UNet, 860 M, 4 channels in, cross-attention 768"); `config` has the keys of
    Diffusers' `UNet2DConditionModel`, None where no such config gives these names and shapes.
    """

    described: str
    config: Mapping[str, Any] | None = None


def rebuild(architecture: Architecture) -> RebuiltModel | None:  # noqa: ARG001  # the joint; its content follows
    """Return what the parameters are, after known prefixes; None where nothing is telling."""
    return None
