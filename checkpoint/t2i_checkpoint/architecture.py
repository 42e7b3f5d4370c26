"""A model as names and shapes: what a checkpoint holds, what a job asks for, and how the two differ. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Wrappers that only prepend to every name: DistributedDataParallel and torch.compile.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Parameter:
    """One tensor: its shape, and its safetensors dtype where known (`F32`, `BF16`; never part of a comparison)."""

    shape: tuple[int, ...]
    dtype: str | None = None

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ShapeMismatch:
    """A name that both sides have, with another shape on each."""

    name: str
    stored: tuple[int, ...]
    wanted: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: stored {list(self.stored)}, wanted {list(self.wanted)}"


@dataclass(frozen=True)
class ArchitectureDifference:
    """Stored against wanted; `missing` are wanted names that are not stored, `unexpected` the reverse."""

    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[ShapeMismatch, ...]
    matched_parameter_share: float

    @property
    def is_empty(self) -> bool:
        """Same names, same shapes."""
        return not (self.missing or self.unexpected or self.mismatched)


class Architecture:
    """Ordered, immutable mapping of parameter names to shapes.

    Order is that of the model's state dict where it comes from a config, and that of the file where it comes from a
    header; it takes no part in equality of architectures.
    """

    __slots__ = ("_parameters",)

    def __init__(self, parameters: Iterable[tuple[str, Parameter]]) -> None:
        collected: dict[str, Parameter] = {}
        for name, parameter in parameters:
            if name in collected:
                raise ValueError(f"parameter {name!r} appears twice")
            collected[name] = parameter
        self._parameters = MappingProxyType(collected)

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Sequence[int]]) -> Architecture:
        """Build from name -> shape, for example `{k: v.shape for k, v in model.state_dict().items()}`."""
        return cls((name, Parameter(tuple(int(size) for size in shape))) for name, shape in shapes.items())

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Name -> parameter, in order."""
        return self._parameters

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._parameters)

    @property
    def count(self) -> int:
        """Number of elements over all parameters (860 M for SD 1.5)."""
        return sum(parameter.count for parameter in self._parameters.values())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __repr__(self) -> str:
        return f"Architecture({len(self)} tensors, {self.count} parameters)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and list(self._parameters.items()) == list(other.parameters.items())

    def __hash__(self) -> int:
        return hash(tuple(self._parameters.items()))

    def __reduce__(self) -> tuple[object, ...]:
        # The read-only view cannot be pickled or deep-copied; its content can.
        return Architecture, (list(self._parameters.items()),)

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of `name`, or None where there is no such parameter."""
        parameter = self._parameters.get(name)
        return None if parameter is None else parameter.shape

    def fingerprint(self) -> str:
        """Return the hex SHA-256 over sorted names and shapes: equal exactly for equal architectures."""
        listed = sorted((name, list(parameter.shape)) for name, parameter in self._parameters.items())
        return hashlib.sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()

    def without_wrapper_prefix(self) -> Architecture:
        """Return the same parameters without `module.` and `_orig_mod.` where *every* name carries it."""
        current = self
        while len(current):
            prefix = next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in current)), None)
            if prefix is None:
                break
            current = Architecture((name.removeprefix(prefix), p) for name, p in current.parameters.items())
        return current

    def diff(self, wanted: Architecture) -> ArchitectureDifference:
        """Compare self, the stored side, with `wanted`."""
        matched = matched_elements = 0
        mismatched: list[ShapeMismatch] = []
        for name, parameter in wanted.parameters.items():
            stored = self.shape(name)
            if stored is None:
                continue
            if stored == parameter.shape:
                matched += 1
                matched_elements += parameter.count
            else:
                mismatched.append(ShapeMismatch(name, stored, parameter.shape))
        total = wanted.count
        return ArchitectureDifference(
            matched=matched,
            missing=tuple(name for name in wanted if name not in self),
            unexpected=tuple(name for name in self if name not in wanted),
            mismatched=tuple(mismatched),
            matched_parameter_share=matched_elements / total if total else 0.0,
        )
