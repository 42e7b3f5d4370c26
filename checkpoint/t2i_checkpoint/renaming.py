"""Which stored tensor is which wanted one: prefixes, LDM names, deprecated attention names; one-to-one. Pure.

`translate` is total: it gives stored names in the wanted model's terms as far as a known renaming goes, whatever the
shapes. `find_renaming` is the strict form: every wanted name is covered, shapes equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_checkpoint.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping


class RenamingName(StrEnum):
    """Which rule; the strongest where several are applied (a prefix is the weakest)."""

    NONE = "none"
    PREFIX = "prefix"
    DEPRECATED_ATTENTION = "deprecated-attention"
    LDM = "ldm"


@dataclass(frozen=True)
class Renaming:
    """Stored name -> wanted name, one-to-one.

    `names` has every stored tensor that belongs to the model (those of names unknown to the rule map to the stored name
    without its prefix); `ignored` are stored tensors that are not part of it (VAE, text encoder, EMA copy, schedules).
    """

    name: RenamingName
    described: str
    names: Mapping[str, str]
    ignored: tuple[str, ...] = ()

    @property
    def keeps_names(self) -> bool:
        """Whether names agree but for a prefix: such a checkpoint is judged as if nothing was renamed."""
        return self.name in {RenamingName.NONE, RenamingName.PREFIX}

    def apply(self, stored: Architecture) -> Architecture:
        """Return the stored model under its new names, in stored order, without what is ignored."""
        return Architecture((self.names[name], p) for name, p in stored.parameters.items() if name in self.names)


def translate(stored: Architecture, wanted: Architecture) -> Renaming:
    """Return the known renaming under which most of `wanted` agrees; it may cover only a part, or nothing."""
    del wanted
    return Renaming(RenamingName.NONE, "same names", {name: name for name in stored})


def find_renaming(stored: Architecture, wanted: Architecture) -> Renaming | None:
    """Return the renaming that covers every wanted name with equal shapes, or None.

    A model stored under the wanted names gives `RenamingName.NONE`.
    """
    renaming = translate(stored, wanted)
    difference = renaming.apply(stored).diff(wanted)
    return None if difference.missing or difference.unexpected or difference.mismatched else renaming
