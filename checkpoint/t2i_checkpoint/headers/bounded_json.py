"""JSON from a stranger: memory bounded before parsing; duplicate keys, NaN, deep nesting, half characters refused."""

from __future__ import annotations

import json
from typing import Any

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault

SHOWN = 80  # characters of a hostile name that a message repeats
MAX_MEMORY_BYTES = 32 * 1024 * 1024
# What CPython spends on each object, list, key and further value at most; three bytes of text can become 240.
_COSTS = ((b"{", 240), (b"[", 100), (b":", 60), (b",", 48))


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object; raises HeaderError with the fault."""
    _bound_memory(raw)
    try:
        parsed = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, "nested too deeply") from None
    except ValueError as error:  # also UnicodeDecodeError, and integers of more than 4300 digits
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, f"not JSON: {str(error)[:SHOWN]}") from None
    if not isinstance(parsed, dict):
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, f"a JSON {type(parsed).__name__}, not an object")
    if b"\\ud" in raw or b"\\uD" in raw:
        _refuse_half_characters(parsed)
    return parsed


def _bound_memory(raw: bytes) -> None:
    # One character outside the basic plane makes every other one take four bytes, in the text and in what is cut of it.
    text = len(raw) * (2 if raw.isascii() else 8)
    needed = text + sum(cost * raw.count(token) for token, cost in _COSTS)
    if needed > MAX_MEMORY_BYTES:
        detail = f"its {len(raw)} bytes of JSON may take {needed} bytes of memory, at most {MAX_MEMORY_BYTES} are given"
        raise HeaderError(HeaderFault.HEADER_TOO_LARGE, detail)


def _refuse_half_characters(parsed: dict[str, Any]) -> None:
    """Refuse half of a surrogate pair: no other program could be told such a name."""
    waiting: list[Any] = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise HeaderError(HeaderFault.HEADER_NOT_JSON, "text with half of a surrogate pair")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise HeaderError(HeaderFault.DUPLICATE_KEY, f"key {twice[:SHOWN]!r} appears twice")
    return result


def _refuse_constant(text: str) -> None:
    raise HeaderError(HeaderFault.HEADER_NOT_JSON, f"{text} is not JSON")
