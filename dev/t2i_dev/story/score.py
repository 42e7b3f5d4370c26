"""Did the pictures follow their prompts? Each sample is held against every reference picture, in pixel space.

A random answer scores 1/264 exact, 5/33 top-5 and 1/8 background, so the shares say something.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2i_checkpoint.layout import sample_folder
from t2i_checkpoint.store import Store
from t2i_dev.story.dataset import SIDE, Pair, Split, pair_of, splits

_TOP = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """One drawn picture: the prompt, and the PNG file's bytes."""

    prompt: str
    png: bytes


@dataclass(frozen=True, slots=True)
class SampleScore:
    """What one picture is nearest to; `emoji_rank` counts emoji that are nearer than the right one."""

    prompt: str
    split: Split
    nearest: Pair
    emoji_right: bool
    background_right: bool
    emoji_rank: int

    @property
    def exact(self) -> bool:
        """Emoji and background both right."""
        return self.emoji_right and self.background_right


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares in [0, 1] over `count` pictures."""

    count: int
    exact: float
    top_five: float
    background: float


@dataclass(frozen=True, slots=True)
class Score:
    """Every picture's score, and the shares of each split that has pictures."""

    samples: tuple[SampleScore, ...]
    overall: Shares
    by_split: Mapping[Split, Shares]


class Scorer:
    """Nearest-reference classifier over all emoji x background pairs."""

    def __init__(self, references: Mapping[Pair, Image.Image]) -> None:
        self._pairs = tuple(references)
        self._pixels = np.stack([_pixels(picture) for picture in references.values()])
        self._splits = splits()

    def score(self, samples: Iterable[Sample]) -> Score:
        """Raises ValueError for a prompt that is no caption of the set, an unreadable PNG, or no samples at all."""
        scores = tuple(self._score(sample) for sample in samples)
        if not scores:
            raise ValueError("no samples to score: give at least one prompt with its picture")
        of_split = {split: [each for each in scores if each.split is split] for split in Split}
        return Score(scores, _shares(scores), {split: _shares(some) for split, some in of_split.items() if some})

    def _score(self, sample: Sample) -> SampleScore:
        wanted = pair_of(sample.prompt)
        distances = ((self._pixels - _read(sample)) ** 2).mean(axis=(1, 2, 3))
        nearest = self._pairs[int(distances.argmin())]
        of_emoji: dict[str, float] = {}
        for pair, distance in zip(self._pairs, distances, strict=True):
            of_emoji[pair.emoji] = min(float(distance), of_emoji.get(pair.emoji, float("inf")))
        return SampleScore(
            prompt=sample.prompt,
            split=self._splits[wanted],
            nearest=nearest,
            emoji_right=nearest.emoji == wanted.emoji,
            background_right=nearest.background == wanted.background,
            emoji_rank=sum(distance < of_emoji[wanted.emoji] for distance in of_emoji.values()),
        )


def samples_of_step(store: Store, step: int, prompts: Sequence[str]) -> tuple[Sample, ...]:
    """Read `samples/step-<n>/0000.png` … from a job's prefix, in the order of its prompts; raises StoreError."""
    folder = sample_folder(step)
    return tuple(Sample(prompt, store.read(f"{folder}/{index:04d}.png")) for index, prompt in enumerate(prompts))


def _read(sample: Sample) -> NDArray[np.float32]:
    try:
        with Image.open(io.BytesIO(sample.png), formats=["PNG"]) as picture:
            picture.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the sample for {sample.prompt!r} is no readable PNG: {error}") from error
    if picture.size != (SIDE, SIDE):
        raise ValueError(f"the sample for {sample.prompt!r} has {picture.size} pixels, references have {(SIDE, SIDE)}")
    return _pixels(picture)


def _pixels(picture: Image.Image) -> NDArray[np.float32]:
    """Return [SIDE, SIDE, 3] in [0, 1]."""
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)


def _shares(scores: Sequence[SampleScore]) -> Shares:
    count = len(scores)
    return Shares(
        count=count,
        exact=sum(each.exact for each in scores) / count,
        top_five=sum(each.emoji_rank < _TOP for each in scores) / count,
        background=sum(each.background_right for each in scores) / count,
    )
