"""Which stored tensor is which wanted one: prefixes, LDM names, deprecated attention names; one-to-one. Pure.

`translate` is total: it gives stored names in the wanted model's terms as far as a known renaming goes, whatever the
shapes. `find_renaming` is the strict form: every wanted name is covered, shapes equal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.renaming_ldm import LDM_ANCHOR, diffusers_names
from t2i_checkpoint.renaming_prefix import candidate_prefixes, is_average, is_other_part, plain_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    _Rule = Callable[[Sequence[str], Architecture], Mapping[str, str]]


class RenamingName(StrEnum):
    """Which rule; a prefix may come on top of LDM and deprecated names, and is named only where it is all."""

    NONE = "none"
    PREFIX = "prefix"
    DEPRECATED_ATTENTION = "deprecated-attention"
    LDM = "ldm"


@dataclass(frozen=True)
class Renaming:
    """Stored name -> wanted name, one-to-one.

    `names` has every stored tensor that belongs to the model (one that the rule does not know maps to its own name,
    without the prefix); `ignored` are stored tensors that are not part of it (VAE, text encoder, EMA copy, schedules).
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


def find_renaming(stored: Architecture, wanted: Architecture) -> Renaming | None:
    """Return the renaming under which the stored model is exactly the wanted one, or None.

    A model stored under the wanted names gives `RenamingName.NONE`.
    """
    renaming = translate(stored, wanted)
    return renaming if renaming.apply(stored).diff(wanted).is_empty else None


def translate(stored: Architecture, wanted: Architecture) -> Renaming:
    """Return the known renaming under which most of `wanted` agrees; it may cover only a part, or nothing."""
    plain = plain_names(stored, wanted)
    best: tuple[tuple[float, ...], Renaming] | None = None
    for prefix in candidate_prefixes(plain.values()):
        group = {name: short.removeprefix(prefix) for name, short in plain.items() if short.startswith(prefix)}
        for rule, renamed in _readings(tuple(group.values()), wanted):
            names = {name: renamed.get(short, short) for name, short in group.items()}
            if len(set(names.values())) < len(names):
                continue
            preference = _preference(prefix, rule, names, covers_all=len(names) == len(stored))
            rank = (*_agreement(names, stored, wanted), preference)
            if best is None or rank > best[0]:
                best = rank, _renaming(rule, prefix, names, stored, wanted)
    return best[1] if best else Renaming(RenamingName.NONE, "no tensors", {})


def _readings(names: Sequence[str], wanted: Architecture) -> Iterator[tuple[RenamingName, Mapping[str, str]]]:
    """Yield the rules that have something to say on these names."""
    yield RenamingName.NONE, {}
    if not len(wanted):
        return
    for rule, rename in _RULES.items():
        renamed = rename(names, wanted)
        if renamed:
            yield rule, renamed


def _from_ldm(names: Sequence[str], wanted: Architecture) -> Mapping[str, str]:
    if LDM_ANCHOR in names:
        return diffusers_names(names, wanted)
    if LDM_ANCHOR in wanted:  # the other way round: the job's own model is in LDM naming
        return {renamed: name for name, renamed in diffusers_names(wanted, names).items()}
    return {}


_DEPRECATED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def _from_deprecated_attention(names: Sequence[str], wanted: Architecture) -> Mapping[str, str]:
    """Diffusers before 0.12: `attentions.0.query.weight` is now `attentions.0.to_q.weight`."""
    renamed = {}
    for name in names:
        module, _, tensor = name.rpartition(".")
        attention, _, layer = module.rpartition(".")
        if layer in _DEPRECATED and name not in wanted:
            renamed[name] = f"{attention}.{_DEPRECATED[layer]}.{tensor}"
    return renamed


_RULES: Mapping[RenamingName, _Rule] = {
    RenamingName.LDM: _from_ldm,
    RenamingName.DEPRECATED_ATTENTION: _from_deprecated_attention,
}


def _agreement(names: Mapping[str, str], stored: Architecture, wanted: Architecture) -> tuple[int, int]:
    """Elements that agree in name and shape; names that agree whatever their shape."""
    elements = known = 0
    for name, renamed in names.items():
        asked = wanted.parameters.get(renamed)
        if asked is not None:
            known += 1
            elements += asked.count if asked.shape == stored.shape(name) else 0
    return elements, known


# The first layers of UNets, by which a part of a file that agrees with nothing wanted is still seen as the model.
_ANCHORS = frozenset({"conv_in.weight", LDM_ANCHOR, "time_embed.0.weight"})


def _preference(prefix: str, rule: RenamingName, names: Mapping[str, str], *, covers_all: bool) -> float:
    """Between readings that agree equally: a model, not its average, known names, nothing left over, fewest changes."""
    is_model = not _ANCHORS.isdisjoint(names.values())
    shorter = prefix.count(".") if covers_all else 0
    return 16.0 * is_model - 8.0 * is_average(prefix) - 4.0 * (rule is not RenamingName.NONE) + shorter


def _renaming(
    rule: RenamingName, prefix: str, names: Mapping[str, str], stored: Architecture, wanted: Architecture
) -> Renaming:
    kept = {name: renamed for name, renamed in names.items() if renamed in wanted or not is_other_part(renamed)}
    ignored = tuple(name for name in stored if name not in kept)
    if rule is RenamingName.NONE and any(name != renamed for name, renamed in kept.items()):
        rule = RenamingName.PREFIX
    return Renaming(rule, _described(rule, prefix, ignored), kept, ignored)


def _described(rule: RenamingName, prefix: str, ignored: Sequence[str]) -> str:
    text = {
        RenamingName.NONE: "the same names",
        RenamingName.PREFIX: f"the same names after the prefix {prefix!r}" if prefix else "the same names in wrappers",
        RenamingName.LDM: "LDM names",
        RenamingName.DEPRECATED_ATTENTION: "deprecated attention names (query, key, value)",
    }[rule]
    if ignored:
        common = Counter(name.partition(".")[0][:40] for name in ignored).most_common(3)
        tensors = "tensor" if len(ignored) == 1 else "tensors"
        text += f"; {len(ignored)} other {tensors} left out ({', '.join(part for part, _ in common)})"
    return text
