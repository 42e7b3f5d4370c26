"""Renders the captioned set from the machine's colour emoji font: as imagefolder and as contact sheet.

Pictures come from Noto Color Emoji (SIL Open Font License), names from the `emoji` package's English table; so the set
needs no download and has real captions.
"""

import io
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import emoji
from PIL import Image, ImageDraw, ImageFont, features

from t2i_dev.errors import MissingRequirementError
from t2i_dev.story.dataset import BACKGROUNDS, EMOJI, SIDE, Pair, Split, all_pairs, splits

FONT_FILE: Final = "NotoColorEmoji.ttf"
_FONT_FOLDERS = (
    "/usr/share/fonts/truetype/noto",  # Debian, Ubuntu
    "/usr/share/fonts/google-noto-color-emoji-fonts",  # Fedora
    "/usr/share/fonts/noto",  # Arch, Alpine
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
)
_WAY_OUT = "Install it: apt-get install fonts-noto-color-emoji"
_STRIKE = 109  # the only pixel size that the font's bitmaps (CBDT) have
_CANVAS = 144  # a glyph is 136 x 128 pixels; a small margin around it
_VARIATION_SELECTOR = "\ufe0f"  # asks for the coloured form, which this font always draws; without Raqm it draws a box


def find_font() -> Path:
    """Return Noto Color Emoji's file; raises MissingRequirementError with the command that installs it."""
    candidates = [Path(folder).expanduser() / FONT_FILE for folder in _FONT_FOLDERS]
    if shutil.which("fc-list"):
        listed = subprocess.run(
            ["fc-list", ":family=Noto Color Emoji", "file"], capture_output=True, text=True, check=False
        ).stdout
        candidates += [Path(line.strip().removesuffix(":")) for line in listed.splitlines() if line.strip()]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise MissingRequirementError(f"the font Noto Color Emoji ({FONT_FILE}) is not on this machine. {_WAY_OUT}")


def character(name: str) -> str:
    """Return the emoji of an English name (`red heart`); raises ValueError for a name that the package lacks."""
    code = f":{name.replace(' ', '_')}:"
    found = emoji.emojize(code, language="en")
    if found == code:
        raise ValueError(f"the emoji package knows no {name!r}: choose another name in dataset.py")
    return str(found).replace(_VARIATION_SELECTOR, "")


@dataclass(frozen=True)
class EmojiRenderer:
    """Draws emoji on backgrounds; the same font file and Pillow give the same pixels."""

    font_file: Path

    @classmethod
    def of_this_machine(cls) -> "EmojiRenderer":
        """Use the installed font; raises MissingRequirementError."""
        return cls(find_font())

    def glyph(self, name: str) -> Image.Image:
        """Return the emoji centred on a transparent square, RGBA; raises MissingRequirementError if it stays empty."""
        picture = Image.new("RGBA", (_CANVAS, _CANVAS), (0, 0, 0, 0))
        text = character(name)
        left, top, right, bottom = self._font.getbbox(text)
        at = ((_CANVAS - (right - left)) / 2 - left, (_CANVAS - (bottom - top)) / 2 - top)
        ImageDraw.Draw(picture).text(at, text, font=self._font, embedded_color=True)
        if picture.getbbox() is None:
            raise MissingRequirementError(f"{self.font_file} does not draw {name!r}. {_WAY_OUT}")
        return picture

    def references(self) -> dict[Pair, Image.Image]:
        """Return every pair's picture, RGB, SIDE x SIDE."""
        pictures: dict[Pair, Image.Image] = {}
        for name in EMOJI:
            glyph = self.glyph(name)
            for background in BACKGROUNDS:
                full = Image.new("RGBA", glyph.size, (*background.rgb, 255))
                full.alpha_composite(glyph)
                small = full.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
                pictures[Pair(name, background.name)] = small
        return pictures

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont:
        if not features.check("freetype2"):
            raise MissingRequirementError("this Pillow was built without FreeType. Install Pillow from its wheel")
        try:
            # From memory: given a path that it cannot read, Pillow takes a system font of the same name instead.
            content = io.BytesIO(self.font_file.read_bytes())
            return ImageFont.truetype(content, _STRIKE, layout_engine=ImageFont.Layout.BASIC)
        except OSError as error:
            raise MissingRequirementError(f"{self.font_file}: {error}. {_WAY_OUT}") from error


def write_imagefolder(references: Mapping[Pair, Image.Image], directory: Path) -> tuple[Path, ...]:
    """Write the trained pairs as HuggingFace imagefolder; returns the files, `metadata.jsonl` last."""
    directory.mkdir(parents=True, exist_ok=True)
    trained = [pair for pair, split in splits().items() if split is Split.TRAINED]
    files = []
    for pair in trained:
        files.append(directory / pair.file_name)
        references[pair].save(files[-1], format="PNG", optimize=False)
    lines = [json.dumps({"file_name": pair.file_name, "text": pair.caption}) for pair in trained]
    metadata = directory / "metadata.jsonl"
    metadata.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return (*files, metadata)


def contact_sheet(references: Mapping[Pair, Image.Image], scale: int = 2) -> Image.Image:
    """Draw the whole set, one emoji a row with its name; held-out pairs framed red, unseen colour x shape blue."""
    frame, label = {Split.HELD_OUT: (220, 0, 0), Split.UNSEEN: (0, 0, 220)}, 110
    cell = SIDE * scale + 6
    sheet = Image.new("RGB", (label + cell * len(BACKGROUNDS), 20 + cell * len(EMOJI)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for column, background in enumerate(BACKGROUNDS):
        draw.text((label + column * cell + 3, 4), background.name, fill=(0, 0, 0))
    split = splits()
    for index, pair in enumerate(all_pairs()):
        row, column = divmod(index, len(BACKGROUNDS))
        x, y = label + column * cell, 20 + row * cell
        if column == 0:
            draw.text((4, y + cell // 2 - 6), pair.emoji, fill=(0, 0, 0))
        draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=frame.get(split[pair], (255, 255, 255)))
        enlarged = references[pair].resize((SIDE * scale, SIDE * scale), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (x + 3, y + 3))
    return sheet
