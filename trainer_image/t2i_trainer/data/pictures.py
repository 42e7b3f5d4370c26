"""From the bytes of a picture file to a training picture: RGB, square, of the job's resolution.

The rule, for every source: the EXIF orientation is applied, transparency lies on white, the shorter side is scaled to
the resolution (Lanczos), and the middle is cut out.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from t2i_api.progress import ExitCode
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Pillow's own bound on decompression bombs is a warning at this size and an error at twice of it.
_MAXIMUM_PICTURE_PIXELS = 100_000_000
# The formats that Pillow gives 16 bits of as mode I; of other formats that mode holds 32.
_SIXTEEN_BITS_IN_MODE_I = frozenset({"PNG", "PPM"})
_WHITE_OF_16_BITS, _WHITE = 65535, 255


class BrokenPictureError(TrainerError):
    """One sample cannot be used; the others can. What names it may come from it: no UTF-8 is spelled out."""

    def __init__(self, message: str) -> None:
        super().__init__(ExitCode.DATA_INVALID, message.encode(errors="backslashreplace").decode())


@contextlib.contextmanager
def way_out_named(way_out: str) -> Iterator[None]:
    """Turn BrokenPictureError into a TrainerError that ends in this sentence: what to do depends on who reads."""
    try:
        yield
    except BrokenPictureError as error:
        raise TrainerError(error.code, f"{error}. {way_out}") from error


def decode_picture(raw: bytes, resolution: int, where: str) -> NDArray[np.uint8]:
    """Return uint8 [3, R, R]; raises BrokenPictureError naming `where`."""
    try:
        with Image.open(io.BytesIO(raw)) as opened:
            if opened.width * opened.height > _MAXIMUM_PICTURE_PIXELS:
                raise BrokenPictureError(
                    f"{where} has {opened.width} x {opened.height} pixels, at most {_MAXIMUM_PICTURE_PIXELS}"
                )
            picture = _of_8_bits(ImageOps.exif_transpose(opened), opened.format)
            if picture.has_transparency_data:
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            picture = picture.convert("RGB")
    except UnidentifiedImageError as error:  # its own words name an address in memory, another one in every run
        raise BrokenPictureError(f"{where} is no readable picture: no format that is known begins so") from error
    # Pillow's plugins raise what their parsers meet; the ones named here are those its own documentation tells of.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenPictureError(f"{where} is no readable picture: {error}") from error
    if picture.size != (resolution, resolution):
        picture = ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.uint8).transpose(2, 0, 1)


def _of_8_bits(picture: Image.Image, kind: str | None) -> Image.Image:
    """Scale 16 bits of grey to 8; Pillow's own conversion clips, and nearly all turns white. Raises ValueError."""
    if picture.mode == "F" or (picture.mode == "I" and kind not in _SIXTEEN_BITS_IN_MODE_I):
        raise ValueError(f"tones of mode {picture.mode} have no known white: save it with 8 or 16 bits a channel")
    if not picture.mode.startswith("I"):
        return picture
    tones = np.asarray(picture).astype(np.int32)
    scaled = np.rint(tones * (_WHITE / _WHITE_OF_16_BITS)).astype(np.uint8)
    grey = Image.fromarray(scaled)
    if (clear := picture.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(tones == clear, 0, _WHITE).astype(np.uint8)))
    return grey
