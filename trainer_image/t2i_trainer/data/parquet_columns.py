"""Which columns of a Parquet file hold picture and caption, and what their cells say; pure.

Accepted are the shapes in which Hugging Face's `datasets` writes pictures
(https://huggingface.co/docs/datasets/about_dataset_features#image-feature) and what pandas makes of plain values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import types

from t2i_api.progress import ExitCode
from t2i_api.spec_model import Data
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable

# What an image folder's `file_name` names is the column `image` once `datasets` has written the folder as Parquet.
_DEFAULT_IMAGE_FIELD = Data.model_fields["image_field"].default
_IMAGE_COLUMN = "image"
_MOST_NAMES_CHARACTERS = 200


@dataclass(frozen=True)
class Columns:
    """Names of two top-level columns."""

    image: str
    caption: str


def choose_columns(schema: pa.Schema, data: Data, where: str) -> Columns:
    """Find the columns that the job's fields name; raises TrainerError saying what is there instead.

    Where there is no column of the default name `file_name`, `image` is taken.
    """
    image = data.image_field
    if image == _DEFAULT_IMAGE_FIELD and image not in schema.names:
        image = _IMAGE_COLUMN
    return Columns(
        _checked(schema, image, where, _HoldsPictures),
        _checked(schema, data.caption_field, where, _HoldsCaptions),
    )


def picture_in(cell: Any) -> bytes | str | None:
    """Return the bytes of a picture's file, else the path of the file, else None; bytes win over a path."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    return cell or None


def caption_in(cell: Any) -> str | None:
    """Return the caption, of a list the first that is not empty, or None; raises UnicodeDecodeError."""
    if isinstance(cell, list):
        cell = next(filter(None, cell), None)
    return cell.decode() if isinstance(cell, bytes) else cell


@dataclass(frozen=True)
class _Purpose:
    setting: str
    fits: Callable[[pa.DataType], bool]
    shapes: str


# A column of nothing but nulls has no other type: each of its rows is broken, not the file.
def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(is_it(kind) for is_it in (types.is_string, types.is_large_string, types.is_string_view, types.is_null))


def _is_bytes(kind: pa.DataType) -> bool:
    return any(is_it(kind) for is_it in (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_null))


def _is_picture(kind: pa.DataType) -> bool:
    """Whether it is bytes, a path, or a struct of both or either."""
    if not types.is_struct(kind):
        return _is_bytes(kind) or _is_text(kind)
    parts = {part.name: part.type for part in (kind.field(place) for place in range(kind.num_fields))}
    return (
        not parts.keys().isdisjoint({"bytes", "path"})
        and _is_bytes(parts.get("bytes", pa.null()))
        and _is_text(parts.get("path", pa.null()))
    )


def _is_caption(kind: pa.DataType) -> bool:
    """Whether it is text (old writers leave it as bytes) or a list of texts."""
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    return _is_text(kind) or _is_bytes(kind)


_HoldsPictures = _Purpose("imageField", _is_picture, "a struct {bytes, path}, bytes, or the path of a file beside it")
_HoldsCaptions = _Purpose("captionField", _is_caption, "text or a list of texts")


def _checked(schema: pa.Schema, name: str, where: str, purpose: _Purpose) -> str:
    kinds = [field.type for field in schema if field.name == name]
    if len(kinds) == 1 and purpose.fits(kinds[0]):
        return name
    if not kinds:
        fault = f"has no column {name!r}"
    elif len(kinds) > 1:
        fault = f"has {len(kinds)} columns {name!r}"
    else:
        fault = f"holds {kinds[0]} in column {name!r} instead of {purpose.shapes}"
    there = ", ".join(schema.names)[:_MOST_NAMES_CHARACTERS]
    raise TrainerError(ExitCode.DATA_INVALID, f"{where} {fault} (columns: {there}); set data.{purpose.setting}")
