"""A row is an object whose texts can be used, or it is broken and says why; no JSON ends the work otherwise."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from t2i_trainer.data.json_rows import row_of, text_of
from t2i_trainer.data.pictures import BrokenPictureError

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"{not json", "is no JSON: Expecting property name"),
        (b"[1]", "is no JSON object"),
        (b"null", "is no JSON object"),
        (b'{"text": "\xff"}', "is no UTF-8 text"),
        (b'{"text": ' + DEEP, "nested too deeply"),
    ],
    ids=["cut", "list", "null", "latin", "deep"],
)
def test_what_is_no_object_is_broken(raw: bytes, fault: str) -> None:
    with pytest.raises(BrokenPictureError, match=f"^line 7 .*{fault}"):
        row_of(raw, "line 7")


@pytest.mark.parametrize(
    ("row", "setting", "fault"),
    [
        ({}, "captionField", r"has no text in field 'text' \(fields: \); set data\.captionField"),
        ({"text": None, "a": 1}, "captionField", r"has no text in field 'text' \(fields: a, text\)"),
        ({"text": ["a"]}, "captionField", "has no text in field 'text'"),
        ({"text": ""}, "imageField", r"has no text in field 'text' .* set data\.imageField"),
        ({"text": "a\ud800"}, "captionField", r"half a character in field 'text' \(\\ud800 at 1\): an emoji was cut"),
        ({"\ud800": "a"}, "captionField", r"fields: \\ud800"),
    ],
)
def test_a_field_without_text_is_named(
    row: dict[str, Any], setting: Literal["imageField", "captionField"], fault: str
) -> None:
    with pytest.raises(BrokenPictureError, match=f"^line 7 .*{fault}"):
        text_of(row, "text", "line 7", setting)


@pytest.mark.parametrize("text", ["", "a cat", "\N{GRINNING FACE}"])
def test_a_caption_may_be_any_text(text: str) -> None:
    assert text_of(row_of(json.dumps({"text": text}).encode(), "line 7"), "text", "line 7", "captionField") == text


@given(st.binary() | st.text().map(str.encode) | st.integers(0, 0xFFFF).map(lambda unit: b'{"text": "\\u%04x"}' % unit))
@example(b'{"text": "\\ud800"}')
def test_any_bytes_give_text_or_a_fault_that_can_be_written(raw: bytes) -> None:
    try:
        text_of(row_of(raw, "line 7"), "text", "line 7", "captionField").encode()
    except BrokenPictureError as error:
        assert str(error).encode()  # noqa: PT017  # either way is right
