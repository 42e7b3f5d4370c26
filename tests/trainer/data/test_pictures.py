"""A picture keeps its tones whatever mode its file is in, or it is refused; nothing turns white in silence."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from t2i_trainer.data.pictures import BrokenPictureError, decode_picture

SIDE = 2


def file_of(mode: str, value: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (SIDE, SIDE), value).save(file, kind, **options)
    return file.getvalue()


# Mode, value, format; what all pixels become. 16 bits are scaled by 257: 65535 is white, 0 black.
TONES: list[tuple[str, Any, str, list[int]]] = [
    ("I;16", 0, "PNG", [0, 0, 0]),
    ("I;16", 128, "PNG", [0, 0, 0]),
    ("I;16", 129, "PNG", [1, 1, 1]),
    ("I;16", 300, "PNG", [1, 1, 1]),
    ("I;16", 20000, "PNG", [78, 78, 78]),
    ("I;16", 40000, "PNG", [156, 156, 156]),
    ("I;16", 65535, "PNG", [255, 255, 255]),
    ("I;16B", 40000, "TIFF", [156, 156, 156]),
    ("I;16", 40000, "TIFF", [156, 156, 156]),
    ("I", 40000, "PPM", [156, 156, 156]),
    ("1", 1, "PNG", [255, 255, 255]),
    ("L", 77, "PNG", [77, 77, 77]),
    ("LA", (77, 255), "PNG", [77, 77, 77]),
    ("P", 0, "PNG", [0, 0, 0]),
    ("RGB", (1, 2, 3), "PNG", [1, 2, 3]),
    ("RGBA", (1, 2, 3, 255), "PNG", [1, 2, 3]),
    ("CMYK", (0, 255, 255, 0), "TIFF", [255, 0, 0]),
]


@pytest.mark.parametrize(("mode", "value", "kind", "expected"), TONES)
def test_every_mode_keeps_its_tones(mode: str, value: Any, kind: str, expected: list[int]) -> None:
    pixels = decode_picture(file_of(mode, value, kind), SIDE, "a picture")
    assert (str(pixels.dtype), pixels.shape) == ("uint8", (3, SIDE, SIDE))
    assert np.unique(pixels.reshape(3, -1), axis=1).T.tolist() == [expected]


@pytest.mark.parametrize(("mode", "value"), [("L", 77), ("I;16", 40000)])
def test_the_transparent_tone_lies_on_white(mode: str, value: int) -> None:
    picture = Image.new(mode, (SIDE, SIDE), 0)
    picture.putpixel((0, 0), value)
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=value)
    assert decode_picture(file.getvalue(), SIDE, "a picture")[0].tolist() == [[255, 0], [0, 0]]


def test_what_is_said_of_a_broken_picture_is_the_same_in_every_run() -> None:
    """Regression: an address in memory stood in the records beside the shards, so that no two runs wrote the same."""
    with pytest.raises(BrokenPictureError) as caught:
        decode_picture(b"no picture", SIDE, "x.png")
    assert str(caught.value) == "x.png is no readable picture: no format that is known begins so"


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 40000)])
def test_tones_without_a_known_white_are_refused(mode: str, value: float) -> None:
    with pytest.raises(BrokenPictureError, match=rf"^x\.tiff .* mode {mode} .*: save it with 8 or 16 bits a channel$"):
        decode_picture(file_of(mode, value, "TIFF"), SIDE, "x.tiff")
