"""Training samples by row: from memory, or from shards. What comes out is as it is stored; `space.py` makes latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from t2i_trainer.data.shard_index import Content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_trainer.data.imagefolder import CaptionedPictures
    from t2i_trainer.data.shard_cache import ShardCache
    from t2i_trainer.data.shard_index import ShardIndex
    from t2i_trainer.data.shard_order import ShardOrder

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Taken:
    """Samples as stored: `stored` uint8 [B, 3, R, R] or float16 [B, 2 C, h, w]; `texts` float32 [B, T, D]."""

    stored: torch.Tensor
    texts: torch.Tensor


class Samples(Protocol):
    """Rows 0 to len - 1; every method may be called by several threads. `sha256` tells the set from another."""

    sha256: str

    def __len__(self) -> int:
        """How many samples there are."""

    def take(self, rows: I64) -> Taken:
        """Return these samples, on the CPU; raises TrainerError, StoreError."""

    def expect(self, shards: Sequence[int]) -> None:
        """Learn which shards are needed now and next."""


@dataclass(frozen=True)
class Conditioning:
    """Encoded captions: `embeddings` float32 [U, T, D] of the distinct captions, `rows` says which each picture has."""

    embeddings: torch.Tensor
    rows: torch.Tensor
    null: torch.Tensor


class PicturesInMemory:
    """A small set, as pixels."""

    def __init__(self, pictures: CaptionedPictures, embeddings: torch.Tensor, text_rows: torch.Tensor) -> None:
        self.sha256 = pictures.sha256
        self._pixels = torch.from_numpy(pictures.pixels)
        self._embeddings = embeddings
        self._text_rows = text_rows

    def __len__(self) -> int:
        return len(self._pixels)

    def take(self, rows: I64) -> Taken:
        """Gather."""
        chosen = torch.from_numpy(rows)
        return Taken(self._pixels[chosen], self._embeddings[self._text_rows[chosen]])

    def expect(self, shards: Sequence[int]) -> None:
        """Everything is there."""


class ShardedSamples:
    """A set in shards; holds no sample itself."""

    def __init__(self, index: ShardIndex, sha256: str, order: ShardOrder, cache: ShardCache) -> None:
        self.sha256 = sha256
        self._recipe = index.recipe
        self._order = order
        self._cache = cache

    def __len__(self) -> int:
        return self._order.size

    def take(self, rows: I64) -> Taken:
        """Read each sample from its shard, straight into the batch."""
        recipe = self._recipe
        dtype = np.uint8 if recipe.content is Content.PIXELS else np.float16
        stored = np.empty((len(rows), *recipe.sample_shape), dtype=dtype)
        texts = np.empty((len(rows), recipe.max_tokens, recipe.text_width), dtype=np.float16)
        shards, places = self._order.locate(rows)
        for shard in np.unique(shards):
            reader = self._cache.reader(int(shard))
            for target in np.flatnonzero(shards == shard):
                reader.read_latents(int(places[target]), stored[target])
                reader.read_text(int(places[target]), texts[target])
        return Taken(torch.from_numpy(stored), torch.from_numpy(texts).float())

    def expect(self, shards: Sequence[int]) -> None:
        """Fetch them in the background."""
        self._cache.expect(shards)
