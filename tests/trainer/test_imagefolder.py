"""Captioned pictures from a folder: read whole, brought to size, and every fault names its line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from t2i_api.progress import ExitCode
from t2i_api.spec_model import Data
from t2i_checkpoint.local import LocalStore
from t2i_trainer.data.imagefolder import read_imagefolder
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from pathlib import Path

DATA = Data(uri="file:///anywhere", resolution=8)


def write(folder: Path, *rows: Any) -> LocalStore:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return LocalStore(folder)


def save(path: Path, size: tuple[int, int], color: Any, mode: str = "RGB") -> None:
    Image.new(mode, size, color).save(path)


def test_pictures_come_in_the_order_of_the_lines_with_their_captions(tmp_path: Path) -> None:
    save(tmp_path / "b.png", (8, 8), "red")
    save(tmp_path / "a.png", (8, 8), "blue")
    store = write(tmp_path, {"file_name": "b.png", "text": "red"}, "", {"file_name": "a.png", "text": "blue"})
    pictures = read_imagefolder(store, DATA)
    assert pictures.captions == ("red", "blue")
    assert pictures.pixels.shape == (2, 3, 8, 8)
    assert pictures.pixels[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_other_sizes_are_scaled_and_cut_and_transparency_becomes_white(tmp_path: Path) -> None:
    save(tmp_path / "wide.png", (40, 20), "green")
    save(tmp_path / "clear.png", (8, 8), (255, 0, 0, 0), mode="RGBA")
    store = write(tmp_path, {"file_name": "wide.png", "text": "w"}, {"file_name": "clear.png", "text": "c"})
    pixels = read_imagefolder(store, DATA).pixels
    assert pixels[0, :, 4, 4].tolist() == [0, 128, 0]
    assert pixels[1].min() == 255


def test_fields_can_have_other_names(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (8, 8), "red")
    store = write(tmp_path, {"picture": "a.png", "says": "red"})
    data = Data(uri="file:///anywhere", resolution=8, image_field="picture", caption_field="says")
    assert read_imagefolder(store, data).captions == ("red",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{not json"], "line 1 is no JSON"),
        (['{"file_name": "a.png", "text": "a\\ud800"}'], "line 1 holds half a character in field 'text'"),
        (['{"a": ' + "[" * 100_000], "line 1 .* nested too deeply"),
        (["[1]"], "line 1 is no JSON object"),
        ([{"file_name": "a.png", "text": "x"}, {"file_name": "a.png"}], "line 2 has no text in field 'text'"),
        ([{"file": "a.png", "text": "x"}], "fields: file, text"),
        ([{"file_name": "broken.png", "text": "x"}], "broken.png is no readable picture"),
        ([], "has no rows"),
    ],
    ids=["no-json", "half-a-character", "deep", "no-object", "no-caption", "other-field", "broken-picture", "empty"],
)
def test_a_fault_names_its_place(tmp_path: Path, rows: list[Any], message: str) -> None:
    save(tmp_path / "a.png", (8, 8), "red")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(TrainerError, match=message) as caught:
        read_imagefolder(write(tmp_path, *rows), DATA)
    assert caught.value.code is ExitCode.DATA_INVALID


@pytest.mark.parametrize("path", ["./a.png", "././a.png", "below/./b.png"])
def test_a_path_may_say_that_it_begins_here(tmp_path: Path, path: str) -> None:
    (tmp_path / "below").mkdir()
    for name in ("a.png", "below/b.png"):
        save(tmp_path / name, (8, 8), "red")
    assert read_imagefolder(write(tmp_path, {"file_name": path, "text": "red"}), DATA).captions == ("red",)
