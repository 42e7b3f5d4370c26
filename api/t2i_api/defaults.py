"""Which fields are written down even at their defaults, because readers of other releases would take another value.

The operator leaves fields at their default out of what it tells a trainer, so that a trainer image of an earlier
release, which refuses fields that it does not know, still reads it. That is only the same thing while the default is
the same in every release: a default that changes is entered in `ALWAYS_WRITTEN` in the same commit (a test holds every
default against `tests/api/defaults.json`).
"""

from typing import Any, Final

from t2i_api.base import WireModel

# Dotted camelCase paths, e.g. "training.warmupSteps".
ALWAYS_WRITTEN: Final[frozenset[str]] = frozenset()


def without_defaults(model: WireModel, always: frozenset[str] = ALWAYS_WRITTEN) -> dict[str, Any]:
    """Return the JSON form of `model` without fields at their defaults; those in `always` are there all the same."""
    whole = model.to_wire()
    result = model.to_wire(defaults=False)
    for path in sorted(always):
        _copy(whole, result, path.split("."))
    return result


def _copy(source: dict[str, Any], target: dict[str, Any], path: list[str]) -> None:
    name, *rest = path
    if name not in source:
        return
    if not rest:
        target[name] = source[name]
    elif isinstance(source[name], dict):
        _copy(source[name], target.setdefault(name, {}), rest)
