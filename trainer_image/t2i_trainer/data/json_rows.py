"""What a JSON object says of one sample: a line of `metadata.jsonl`, or the `.json` of a tar; pure.

Any fault is the row's own. Python's `json` lets more through than can be used (halves of surrogate pairs, which neither
tokenizer nor file takes as text), and ends in a RecursionError where nesting is deep.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from t2i_trainer.data.pictures import BrokenPictureError

_MOST_NAMES_CHARACTERS = 200


def row_of(raw: bytes, where: str) -> dict[str, Any]:
    """Return the object; raises BrokenPictureError naming `where`."""
    try:
        row: Any = json.loads(raw)
    except UnicodeDecodeError as error:
        raise BrokenPictureError(f"{where} is no UTF-8 text: {error}") from error
    except ValueError as error:
        raise BrokenPictureError(f"{where} is no JSON: {error}") from error
    except RecursionError as error:
        raise BrokenPictureError(f"{where} is no JSON that can be read: it is nested too deeply") from error
    if not isinstance(row, dict):
        raise BrokenPictureError(f"{where} is no JSON object")
    return row


def text_of(row: dict[str, Any], field: str, where: str, setting: Literal["imageField", "captionField"]) -> str:
    """Return a field's text; raises BrokenPictureError naming the field that `data.<setting>` asks for."""
    value = row.get(field)
    if not isinstance(value, str) or (setting == "imageField" and not value):
        there = ", ".join(sorted(row))[:_MOST_NAMES_CHARACTERS]
        raise BrokenPictureError(f"{where} has no text in field {field!r} (fields: {there}); set data.{setting}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BrokenPictureError(
            f"{where} holds half a character in field {field!r} (\\u{ord(value[error.start]):x} at {error.start}): "
            "an emoji was cut there"
        ) from error
    return value
