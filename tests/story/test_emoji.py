import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i_dev.errors import MissingRequirementError
from t2i_dev.story import emoji as emoji_module
from t2i_dev.story.dataset import BACKGROUNDS, EMOJI, Pair, Split, all_pairs, splits
from t2i_dev.story.emoji import EmojiRenderer, character, contact_sheet, find_font, write_imagefolder


def test_names_become_single_characters_without_a_variation_selector() -> None:
    assert character("red heart") == "\u2764"
    assert {len(character(name)) for name in EMOJI} == {1}
    with pytest.raises(ValueError, match="purple banana"):
        character("purple banana")


def test_corners_show_the_background_and_the_middle_the_emoji(references: Mapping[Pair, Image.Image]) -> None:
    for background in BACKGROUNDS:
        picture = references[Pair("red heart", background.name)]
        assert (picture.mode, picture.size) == ("RGB", (32, 32))
        assert picture.getpixel((0, 0)) == background.rgb
        assert picture.getpixel((31, 31)) == background.rgb
        red, green, blue = np.asarray(picture)[16, 16]
        assert red > 200
        assert max(green, blue) < 100


def test_no_two_references_look_alike(references: Mapping[Pair, Image.Image]) -> None:
    pixels = np.stack([np.asarray(picture, dtype=np.float64).ravel() / 255 for picture in references.values()])
    norms = (pixels**2).sum(axis=1)
    squares = (norms[:, None] + norms[None, :] - 2 * pixels @ pixels.T) / pixels.shape[1]
    np.fill_diagonal(squares, 1)
    assert float(np.sqrt(squares.min())) > 0.04  # noise of a sampler must not turn one into another


def test_the_folder_holds_exactly_the_trained_pairs_and_is_the_same_every_time(
    references: Mapping[Pair, Image.Image], tmp_path: Path
) -> None:
    digests = []
    for name in ("first", "second"):
        files = write_imagefolder(EmojiRenderer.of_this_machine().references(), tmp_path / name)
        assert files[-1].name == "metadata.jsonl"
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]
    rows = [json.loads(line) for line in (tmp_path / "first" / "metadata.jsonl").read_text().splitlines()]
    trained = {pair.caption: pair for pair, split in splits().items() if split is Split.TRAINED}
    assert {row["text"] for row in rows} == set(trained)
    assert {path.name for path in (tmp_path / "first").iterdir()} == {row["file_name"] for row in rows} | {
        "metadata.jsonl"
    }
    for row in rows:
        with Image.open(tmp_path / "first" / row["file_name"]) as picture:
            assert picture.tobytes() == references[trained[row["text"]]].tobytes()


def test_a_machine_without_the_font_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emoji_module, "_FONT_FOLDERS", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingRequirementError, match="apt-get install fonts-noto-color-emoji"):
        find_font()


def test_a_damaged_font_is_named(tmp_path: Path) -> None:
    (tmp_path / "NotoColorEmoji.ttf").write_bytes(b"no font")
    with pytest.raises(MissingRequirementError, match="NotoColorEmoji"):
        EmojiRenderer(tmp_path / "NotoColorEmoji.ttf").references()


def test_the_contact_sheet_shows_every_pair(references: Mapping[Pair, Image.Image]) -> None:
    sheet = contact_sheet(references, scale=1)
    cell = 32 + 6
    for index, pair in enumerate(all_pairs()):
        row, column = divmod(index, len(BACKGROUNDS))
        x, y = 110 + column * cell + 3, 20 + row * cell + 3
        assert sheet.crop((x, y, x + 32, y + 32)).tobytes() == references[pair].tobytes()
