"""The values that a pickle is read as, and their bounds: memory while they are built, size and depth afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.limits import MAX_TENSORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGET_BYTES = 36 * 1024 * 1024  # an SDXL checkpoint with optimizer and EMA takes a third
MAX_NODES = 200_000
MAX_DEPTH = 64
_MAX_NAMES = 8_000_000  # characters of all paths, `state_dict.model.conv_in.weight`; a real file has a tenth
_MAX_TUPLE_KEYS = 1_000
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that was not rebuilt: `name` is the class or function that the pickle names, or the built-in type."""

    name: str


@dataclass(eq=False, slots=True)
class Record:
    """An object of a known class: its name and, once it was built, the fields that matter. Equal to itself only."""

    name: str
    state: tuple[Any, ...] | None = None


class Budget:
    """Bytes of memory that may still be spent on values."""

    def __init__(self, size: int = BUDGET_BYTES) -> None:
        self._left = size

    def spend(self, size: int) -> None:
        """Take `size` bytes; HeaderError where they are gone."""
        self._left -= size
        if self._left < 0:
            raise HeaderError(HeaderFault.PICKLE_TOO_LARGE, f"its values take more than {BUDGET_BYTES} bytes of memory")

    def give_back(self, size: int) -> None:
        """Return what was spent on a value that is gone."""
        self._left += size


def check_key(key: Any, spend: Callable[[int], None]) -> None:
    """Refuse dictionary keys whose hashes a stranger can choose to be equal, or costly: big integers, nested tuples."""
    kind = type(key)
    if kind is str or kind is Record or kind is Opaque or (kind is int and -(2**63) <= key < 2**63):
        return
    if kind in (bool, float, type(None)):
        return
    if kind is tuple and len(key) <= MAX_DEPTH and all(type(part) in _SCALARS for part in key):
        spend(BUDGET_BYTES // _MAX_TUPLE_KEYS)  # tuples' hashes are no secret: few of them, or time is at risk
        return
    raise HeaderError(HeaderFault.PICKLE_INVALID, f"a {kind.__name__} is no key of a dictionary")


def check_tree(value: Any) -> None:
    """Refuse cycles, and values that are too deep or too many once shared ones are counted wherever they appear.

    So that a plain recursion over the tree, and a table of its tensors by their paths, are safe for whoever makes them.
    """
    path: list[tuple[int, Iterator[tuple[Any, Any]]]] = [(0, iter([(None, value)]))]
    nodes = tensors = names = 0
    while path:
        prefix, children = path[-1]
        for key, child in children:
            nodes += 1
            at = prefix + (len(key) if type(key) is str else 8)
            names += at
            if isinstance(child, dict):
                path.append((at, iter(child.items())))
                break
            if isinstance(child, list | tuple):
                path.append((at, enumerate(child)))
                break
            tensors += type(child) not in _SCALARS and not isinstance(child, Opaque)
        else:
            path.pop()
        if nodes > MAX_NODES or len(path) > MAX_DEPTH or names > _MAX_NAMES:
            detail = f"more than {MAX_NODES} values, nested more than {MAX_DEPTH} deep, or with endless names"
            raise HeaderError(HeaderFault.PICKLE_TOO_LARGE, detail)
        if tensors > MAX_TENSORS:
            raise HeaderError(HeaderFault.TOO_MANY_TENSORS, f"more than {MAX_TENSORS} tensors")
