"""A captioned set that a tiny UNet learns within 200 steps: colour, shape and background are in the caption.

The text encoder is a small BERT with random weights: it tells captions apart, which is all that is asked of it here.
"""

from __future__ import annotations

import io
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image, ImageDraw
from transformers import BertConfig, BertModel, BertTokenizer

if TYPE_CHECKING:
    from pathlib import Path

SIDE: Final = 16
TEXT_WIDTH: Final = 32
MAX_TOKENS: Final = 8
COLOURS: Final = ("red", "blue", "green", "black", "orange", "purple", "white", "yellow")
SHAPES: Final = ("circle", "square", "triangle")
BACKGROUNDS: Final = ("white", "black", "gray", "skyblue")


def write_pictures(folder: Path) -> int:
    """Write the pictures and their metadata.jsonl; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for colour, shape, ground in itertools.product(COLOURS, SHAPES, BACKGROUNDS):
        if colour == ground:
            continue
        name = f"{colour}-{shape}-{ground}.png"
        (folder / name).write_bytes(_picture(colour, shape, ground))
        lines.append(json.dumps({"file_name": name, "text": f"a {colour} {shape} on {ground}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return len(lines)


def write_text_encoder(folder: Path) -> None:
    """Write a BERT of two layers with random weights, and its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "on", *sorted({*COLOURS, *SHAPES, *BACKGROUNDS})]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "hidden_size": TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
    }
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)


def _picture(colour: str, shape: str, ground: str) -> bytes:
    image = Image.new("RGB", (SIDE, SIDE), ground)
    pen = ImageDraw.Draw(image)
    low, high = 3, SIDE - 4
    match shape:
        case "circle":
            pen.ellipse((low, low, high, high), fill=colour)
        case "square":
            pen.rectangle((low, low, high, high), fill=colour)
        case _:
            pen.polygon(((low, high), (high, high), (SIDE // 2, low)), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
