"""A job's data, whatever lies at `data.uri`: shards, a small image folder in memory, or pictures to encode first.

An INDEX.json makes it a set of shards. Without one, pictures that are trained on as pixels are kept in memory; in
latent space (and from tars and Parquet) the pod's first process encodes them once, at the start, into shards in the
run directory.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from t2i_api.attempt import CACHE_VARIABLE
from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_trainer.cache import cache_folder
from t2i_trainer.data.encode import DEFAULT_WINDOW_SHARDS, Encoding
from t2i_trainer.data.encode_progress import ProgressLog
from t2i_trainer.data.encoding import Encoders, recipe_of, weights_sha256
from t2i_trainer.data.imagefolder import METADATA, read_imagefolder
from t2i_trainer.data.pictures import way_out_named
from t2i_trainer.data.samples import PicturesInMemory, ShardedSamples
from t2i_trainer.data.shard_cache import ShardCache
from t2i_trainer.data.shard_fit import check_fit
from t2i_trainer.data.shard_index import ShardIndex, read_index
from t2i_trainer.data.shard_order import ShardOrder
from t2i_trainer.data.sources import open_source
from t2i_trainer.data.space import LatentSpace, PixelSpace
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.data.samples import Samples
    from t2i_trainer.data.space import Space
    from t2i_trainer.text_encoder import TextEncoder
    from t2i_trainer.vae import Vae
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")

# Smaller than those of `t2i data encode`: a set that is encoded at each start is small.
_SHARD_MIB = 64
_WAY_OUT = (
    "Mend it, take it out of the set, or encode the set once with `t2i data encode --skip-broken`, which leaves it "
    "out, and train from the shards"
)


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on; `shards` is the order of a set in shards."""

    samples: Samples
    space: Space
    shards: ShardOrder | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def sha256(self) -> str:
        """Tells the set from another."""
        return self.samples.sha256


@dataclass(frozen=True)
class Opener:
    """Everything that opening needs; `models` holds the folders `text_encoder` and `vae`."""

    configuration: RunConfiguration
    world: World
    models: Path
    encoder: TextEncoder
    null_embedding: torch.Tensor
    vae: Vae | None

    def open(self) -> TrainingData:
        """Open `data.uri`; raises TrainerError, StoreError."""
        spec = self.configuration.spec
        store = self.configuration.store(spec.data.uri)
        found = read_index(store)
        if found is not None:
            index, sha256 = found
            self.world.run_where(
                self.world.leads_pod, lambda: check_fit(store, index, spec, self.models, self.null_embedding)
            )
            return self._sharded(store, index, sha256)
        with way_out_named(_WAY_OUT):
            if self.vae is None and store.head(METADATA) is not None:
                return TrainingData(self._in_memory(store), PixelSpace(spec.model.pixel_unshuffle_factor))
            return self._encoded()

    def _in_memory(self, store: Store) -> PicturesInMemory:
        pictures = read_imagefolder(store, self.configuration.spec.data)
        distinct = sorted(set(pictures.captions))
        position = {caption: row for row, caption in enumerate(distinct)}
        rows = torch.tensor([position[caption] for caption in pictures.captions])
        return PicturesInMemory(pictures, self.encoder.encode(distinct), rows)

    def _encoded(self) -> TrainingData:
        """Encode in the pod's first process; the others read its shards."""
        own = LocalStore(self.configuration.run_directory / "encoded")
        self.world.run_where(self.world.leads_pod, lambda: self._encode(own))
        found = read_index(own)
        if found is None:
            raise TrainerError(ExitCode.CRASHED, f"{own.uri} has no index although everything was encoded")
        # Encoders differ in their last bits from machine to machine; what tells the set from another is its source.
        return self._sharded(own, found[0], found[0].recipe.source_sha256)

    def _encode(self, own: Store) -> None:
        spec = self.configuration.spec
        scratch = self.configuration.run_directory / "encoding"
        scratch.mkdir(parents=True, exist_ok=True)
        source = open_source(self.configuration.open_pictures(), spec.data, scratch)
        encoders = Encoders(
            text=self.encoder,
            text_sha256=weights_sha256(self.models / "text_encoder"),
            null_embedding=self.null_embedding,
            vae=self.vae,
            vae_sha256=None if self.vae is None else weights_sha256(self.models / "vae"),
            device=self.world.device,
        )
        logger.info("encoding the pictures of %s; `t2i data encode` does it once for all runs", spec.data.uri)
        done = Encoding(
            source=source,
            destination=own,
            encoders=encoders,
            recipe=recipe_of(spec, source, encoders, shard_mib=_SHARD_MIB),
            window_shards=DEFAULT_WINDOW_SHARDS,
            scratch=scratch,
            report=ProgressLog(logger.info).report,
        ).run()
        logger.info("encoded %d pictures in %.1f s", done.index.samples, done.progress.seconds)

    def _sharded(self, store: Store, index: ShardIndex, sha256: str) -> TrainingData:
        spec = self.configuration.spec
        order = ShardOrder(index.counts, index.window_shards, spec.training.seed)
        local = store.uri.startswith("file://") or not os.environ.get(CACHE_VARIABLE)
        folder = (self.configuration.run_directory / "shards") if local else cache_folder("shards")
        cache = ShardCache(store, index, folder / sha256[:16], evicts=self.world.leads_pod)
        space: Space = PixelSpace(spec.model.pixel_unshuffle_factor)
        if self.vae is not None:
            space = LatentSpace(self.vae.scale, self.vae.shift)
        return TrainingData(ShardedSamples(index, sha256, order, cache), space, order)
