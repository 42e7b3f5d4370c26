"""Which columns hold picture and caption: the shapes that `datasets` and pandas write, and what is said of others."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from t2i_api.progress import ExitCode
from t2i_api.spec_model import Data
from t2i_trainer.data.parquet_columns import Columns, caption_in, choose_columns, picture_in
from t2i_trainer.errors import TrainerError

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def data(**fields: str) -> Data:
    return Data(uri="file:///anywhere", resolution=8, **fields)


@pytest.mark.parametrize(
    "kind",
    [
        IMAGE,
        pa.struct({"bytes": pa.large_binary(), "path": pa.large_string()}),
        pa.struct({"bytes": pa.binary(), "path": pa.null()}),
        pa.struct({"bytes": pa.null(), "path": pa.string()}),
        pa.struct({"path": pa.string(), "width": pa.int32()}),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.null(),
    ],
    ids=str,
)
def test_pictures_are_structs_bytes_or_paths(kind: pa.DataType) -> None:
    schema = pa.schema({"image": kind, "text": pa.string()})
    assert choose_columns(schema, data(), "a.parquet") == Columns("image", "text")


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.dictionary(pa.int8(), pa.large_string()),
        pa.list_(pa.string()),
        pa.large_list(pa.string_view()),
        pa.list_(pa.string(), 5),
        pa.null(),
    ],
    ids=str,
)
def test_captions_are_texts_or_lists_of_texts(kind: pa.DataType) -> None:
    schema = pa.schema({"image": IMAGE, "text": kind})
    assert choose_columns(schema, data(), "a.parquet") == Columns("image", "text")


@pytest.mark.parametrize(
    ("names", "fields", "expected"),
    [
        (["image", "text"], {}, Columns("image", "text")),
        (["file_name", "image", "text"], {}, Columns("file_name", "text")),
        (["file_name", "image", "text"], {"image_field": "image"}, Columns("image", "text")),
        (["jpg", "caption"], {"image_field": "jpg", "caption_field": "caption"}, Columns("jpg", "caption")),
        (["image", "a.text", "a"], {"caption_field": "a.text"}, Columns("image", "a.text")),
    ],
)
def test_the_jobs_fields_name_the_columns(names: list[str], fields: dict[str, str], expected: Columns) -> None:
    schema = pa.schema({name: pa.string() for name in names})
    assert choose_columns(schema, data(**fields), "a.parquet") == expected


@pytest.mark.parametrize(
    ("schema", "fields", "message"),
    [
        (
            {"image": IMAGE, "caption": pa.string()},
            {},
            "a.parquet has no column 'text' (columns: image, caption); set data.captionField",
        ),
        (
            {"picture": IMAGE, "text": pa.string()},
            {},
            "a.parquet has no column 'image' (columns: picture, text); set data.imageField",
        ),
        (
            {"image": IMAGE, "text": pa.string()},
            {"image_field": "jpg"},
            "has no column 'jpg' (columns: image, text); set data.imageField",
        ),
        (
            {"image": pa.int64(), "text": pa.string()},
            {},
            "holds int64 in column 'image' instead of a struct {bytes, path}, bytes, or the path of a file beside it",
        ),
        ({"image": pa.struct({"width": pa.int32()}), "text": pa.string()}, {}, "holds struct<width: int32> in column"),
        ({"image": pa.struct({"bytes": pa.int8(), "path": pa.string()}), "text": pa.string()}, {}, "set data.image"),
        ({"image": pa.list_(IMAGE), "text": pa.string()}, {}, "set data.imageField"),
        (
            {"image": IMAGE, "text": pa.float32()},
            {},
            "holds float in column 'text' instead of text or a list of texts (columns: image, text); set data.caption",
        ),
        ({"image": IMAGE, "text": pa.list_(pa.int8())}, {}, "set data.captionField"),
        ({}, {}, "has no column 'image' (columns: )"),
    ],
)
def test_other_columns_are_refused_with_those_that_are_there(
    schema: dict[str, pa.DataType], fields: dict[str, str], message: str
) -> None:
    with pytest.raises(TrainerError) as caught:
        choose_columns(pa.schema(schema), data(**fields), "a.parquet")
    assert message in str(caught.value)
    assert caught.value.code is ExitCode.DATA_INVALID


def test_a_name_that_stands_twice_is_refused() -> None:
    schema = pa.schema([("image", IMAGE), ("text", pa.string()), ("text", pa.string())])
    with pytest.raises(TrainerError, match="has 2 columns 'text'"):
        choose_columns(schema, data(), "a.parquet")


def test_a_thousand_columns_do_not_fill_the_screen() -> None:
    with pytest.raises(TrainerError) as caught:
        choose_columns(pa.schema({f"column{n}": pa.int8() for n in range(1000)}), data(), "a.parquet")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("cell", "picture"),
    [
        ({"bytes": b"P", "path": "a.png"}, b"P"),
        ({"bytes": None, "path": "a.png"}, "a.png"),
        ({"bytes": b"", "path": "a.png"}, "a.png"),
        ({"bytes": b"P"}, b"P"),
        ({"bytes": None, "path": None}, None),
        ({"bytes": None, "path": ""}, None),
        (None, None),
        (b"P", b"P"),
        (b"", None),
        ("a.png", "a.png"),
    ],
)
def test_bytes_win_over_a_path(cell: Any, picture: Any) -> None:
    assert picture_in(cell) == picture


@pytest.mark.parametrize(
    ("cell", "caption"),
    [
        ("a cat", "a cat"),
        ("", ""),
        ("a cät".encode(), "a cät"),
        (["first", "second"], "first"),
        ([None, "", "third"], "third"),
        ([b"bytes"], "bytes"),
        ([], None),
        ([None, ""], None),
        (None, None),
    ],
)
def test_of_several_captions_the_first_is_taken(cell: Any, caption: str | None) -> None:
    assert caption_in(cell) == caption
