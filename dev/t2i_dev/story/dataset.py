"""The captioned set as data: which emoji on which backgrounds, and which pairs are never trained. Pure.

The held-out pairs ask whether the model composes what it has seen apart; the unseen colour x shape pairs ask whether it
composes words (purple hearts and red squares were trained on, purple squares never).
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SIDE: Final = 32
SHAPES: Final = ("heart", "circle", "square")
SHAPE_COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple")
OBJECTS: Final = (
    "banana",
    "grapes",
    "pizza",
    "doughnut",
    "mushroom",
    "cactus",
    "sunflower",
    "frog",
    "penguin",
    "octopus",
    "panda",
    "rocket",
    "soccer ball",
    "fire",
    "crown",
)
EMOJI: Final = (*(f"{colour} {shape}" for shape in SHAPES for colour in SHAPE_COLOURS), *OBJECTS)
UNSEEN_EMOJI: Final = frozenset(
    {"purple square", "green circle", "orange heart", "blue heart", "red square", "yellow circle"}
)
HELD_OUT_SHARE: Final = 0.15
_MOST_HELD_OUT_OF_ONE_EMOJI = 2  # each stays trained on at least six of the eight backgrounds


@dataclass(frozen=True, slots=True)
class Background:
    """A named colour, 8-bit sRGB."""

    name: str
    rgb: tuple[int, int, int]


BACKGROUNDS: Final = (
    Background("white", (255, 255, 255)),
    Background("black", (0, 0, 0)),
    Background("gray", (128, 128, 128)),
    Background("sky blue", (135, 206, 235)),
    Background("pink", (255, 182, 193)),
    Background("teal", (0, 128, 128)),
    Background("tan", (210, 180, 140)),
    Background("navy blue", (0, 0, 96)),
)


class Split(StrEnum):
    """What the training has seen of a pair."""

    TRAINED = "trained"
    HELD_OUT = "held-out pair"
    UNSEEN = "unseen colour and shape"


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """One picture of the set: an emoji's English name and a background's name."""

    emoji: str
    background: str

    @property
    def caption(self) -> str:
        """`red heart on a sky blue background`."""
        return f"{self.emoji} on a {self.background} background"

    @property
    def file_name(self) -> str:
        """`red_heart-sky_blue.png`."""
        return f"{self.emoji}-{self.background}.png".replace(" ", "_")


def all_pairs() -> tuple[Pair, ...]:
    """Every emoji on every background, in a fixed order."""
    return tuple(Pair(emoji, background.name) for emoji in EMOJI for background in BACKGROUNDS)


def splits() -> dict[Pair, Split]:
    """Return each pair's split: always the same, by the hash of its caption."""
    pairs = all_pairs()
    trainable = [pair for pair in pairs if pair.emoji not in UNSEEN_EMOJI]
    wanted = round(HELD_OUT_SHARE * len(trainable))
    held_out: list[Pair] = []
    for pair in sorted(trainable, key=lambda each: hashlib.sha256(each.caption.encode()).digest()):
        if len(held_out) == wanted:
            break
        if sum(other.emoji == pair.emoji for other in held_out) < _MOST_HELD_OUT_OF_ONE_EMOJI:
            held_out.append(pair)
    chosen = frozenset(held_out)
    return {pair: _split(pair, chosen) for pair in pairs}


def pair_of(caption: str) -> Pair:
    """Read a caption back; raises ValueError for one that the set cannot contain."""
    for pair in all_pairs():
        if pair.caption == caption:
            return pair
    raise ValueError(f"{caption!r} is no caption of the emoji set; write e.g. {all_pairs()[3].caption!r}")


def _split(pair: Pair, held_out: frozenset[Pair]) -> Split:
    if pair.emoji in UNSEEN_EMOJI:
        return Split.UNSEEN
    return Split.HELD_OUT if pair in held_out else Split.TRAINED
