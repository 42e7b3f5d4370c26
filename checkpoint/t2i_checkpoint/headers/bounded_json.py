"""JSON from a stranger: size bounded by the caller, duplicate keys, NaN and deep nesting refused."""

from __future__ import annotations

import json
from typing import Any

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault

SHOWN = 80  # characters of a hostile name that a message repeats


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object; raises HeaderError with the fault."""
    try:
        parsed = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, "nested too deeply") from None
    except ValueError as error:  # also UnicodeDecodeError, and integers of more than 4300 digits
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, f"not JSON: {str(error)[:SHOWN]}") from None
    if not isinstance(parsed, dict):
        raise HeaderError(HeaderFault.HEADER_NOT_JSON, f"a JSON {type(parsed).__name__}, not an object")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise HeaderError(HeaderFault.DUPLICATE_KEY, f"key {twice[:SHOWN]!r} appears twice")
    return result


def _refuse_constant(text: str) -> None:
    raise HeaderError(HeaderFault.HEADER_NOT_JSON, f"{text} is not JSON")
