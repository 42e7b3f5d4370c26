"""How long a step waits for its batch: from shards on an S3 server with prefetch, against moments held in memory.

Samples of Stable Diffusion's size (moments of 512 px, 77 x 768 embeddings: 182 KB each) at the speed that the project
aims at: 32 a step of 213 ms, 150 images/s. The step itself only passes that time, as a host does while its GPU works;
the feeds are the trainer's own and take turns. The shards lie on a real S3 server on loopback; the local folder, empty
at first, holds half of them, so that every epoch downloads (27 MB/s), window by window, ahead of the steps.
Run `python bench/data.py [--epochs 3] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from gpu_parts import RandomMoments, Size
from t2i_checkpoint.open import open_store
from t2i_dev.s3_server import S3Server
from t2i_trainer.data.feed import DrawnFeed
from t2i_trainer.data.prefetch import PrefetchingFeed, threads_for
from t2i_trainer.data.samples import ShardedSamples
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.data.shard_cache import ShardCache
from t2i_trainer.data.shard_file import ShardTensors, write_shard
from t2i_trainer.data.shard_index import Content, Recipe, Shard, ShardIndex, StoredFile, shard_key
from t2i_trainer.data.shard_order import ShardOrder
from t2i_trainer.data.space import LatentSpace
from t2i_trainer.world import World

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store
    from t2i_trainer.data.samples import Samples

SIZE = Size(512, 32)
SHARDS, SAMPLES_PER_SHARD, WINDOW_SHARDS = 12, 160, 2
STEPS_PER_EPOCH = SHARDS * SAMPLES_PER_SHARD // SIZE.batch
STEP_SECONDS = SIZE.batch / 150
TURN = 10  # steps of a feed's turn
NOBODY = "0" * 64


@dataclass(frozen=True)
class Waits:
    """Seconds that steps waited; `first` for the very first batch, which nothing can have made ahead."""

    first: float
    later: list[float]

    def share(self, epoch: int) -> float:
        """Of an epoch's time (0 is the first), but for the first batch."""
        waited = self.later[max(epoch * STEPS_PER_EPOCH - 1, 0) : (epoch + 1) * STEPS_PER_EPOCH - 1]
        return sum(waited) / (sum(waited) + STEP_SECONDS * len(waited))


class Consumer:
    """A feed, and a step that passes the time of one on a GPU."""

    def __init__(self, samples: Samples, shards: ShardOrder | None) -> None:
        nobody: Any = None
        cpu = torch.device("cpu")
        drawn = DrawnFeed(
            samples=samples,
            space=LatentSpace(0.18215, 0.0),
            null=torch.zeros(SIZE.tokens, SIZE.width),
            order=SampleOrder(len(samples), 0, SIZE.batch, shards),
            world=World(nobody, 0, 0, 1, cpu),
            timesteps=1000,
            dropout=0.1,
        )
        self._feed = PrefetchingFeed(drawn, cpu, threads=threads_for(os.cpu_count() or 1, 1), steps=10**6)
        self.waits: list[float] = []

    def step(self) -> None:
        """Ask for the next batch and use it."""
        began = time.perf_counter()
        self._feed.batch(len(self.waits))
        self.waits.append(time.perf_counter() - began)
        time.sleep(STEP_SECONDS)

    def close(self) -> Waits:
        """Stop, and tell."""
        self._feed.close()
        return Waits(self.waits[0], self.waits[1:])


def write_shards(store: Store, scratch: Path) -> ShardIndex:
    """Write random moments and embeddings, as `t2i data encode` lays shards out."""
    generator = np.random.default_rng(0)
    shape, text = (8, SIZE.side, SIZE.side), (SIZE.tokens, SIZE.width)
    shards = []
    for number in range(SHARDS):
        path = scratch / "shard.safetensors"
        moments = generator.standard_normal((SAMPLES_PER_SHARD, *shape), dtype=np.float32).astype(np.float16)
        texts = generator.standard_normal((SAMPLES_PER_SHARD, *text), dtype=np.float32).astype(np.float16)
        captions = [f"caption {number} {row}" for row in range(SAMPLES_PER_SHARD)]
        size, sha256 = write_shard(path, ShardTensors(moments, texts, range(SAMPLES_PER_SHARD), captions))
        shards.append(Shard(path=shard_key(0, number), size=size, sha256=sha256, samples=SAMPLES_PER_SHARD))
        store.upload(shards[-1].path, path)
    recipe = Recipe(
        source_sha256=NOBODY,
        content=Content.MOMENTS,
        resolution=SIZE.pixels,
        sample_shape=shape,
        vae_sha256=NOBODY,
        text_encoder_sha256=NOBODY,
        max_tokens=SIZE.tokens,
        text_width=SIZE.width,
        samples_per_shard=SAMPLES_PER_SHARD,
    )
    null = StoredFile(path="null-embedding.safetensors", size=0, sha256=NOBODY)
    return ShardIndex(recipe=recipe, null_embedding=null, window_shards=WINDOW_SHARDS, shards=tuple(shards))


def measure(epochs: int) -> dict[str, Waits]:
    """Let both feeds take turns through the epochs."""
    with tempfile.TemporaryDirectory(prefix="t2i-bench-") as name, S3Server.start(Path(name) / "s3") as server:
        os.environ.update(server.environment())
        store = open_store(f"s3://{server.bucket}/shards", endpoint=server.endpoint)
        index = write_shards(store, Path(name))
        order = ShardOrder(index.counts, index.window_shards, 0)
        cache = ShardCache(store, index, Path(name) / "cache", evicts=True)
        consumers = {
            "shards on S3": Consumer(ShardedSamples(index, NOBODY, order, cache), order),
            "in memory": Consumer(RandomMoments(SIZE), None),
        }
        for turn in range(epochs * STEPS_PER_EPOCH // TURN):
            for consumer in consumers.values():
                for _ in range(TURN):
                    consumer.step()
            sys.stderr.write(f"{TURN * (turn + 1)} of {epochs * STEPS_PER_EPOCH} steps\n")
        waits = {name: consumer.close() for name, consumer in consumers.items()}
        cache.close()
        return waits


def describe(waits: dict[str, Waits], epochs: int) -> str:
    """Return the table for people."""
    lines = []
    for name, each in waits.items():
        shares = ", ".join(f"{100 * each.share(epoch):.2f} %" for epoch in range(epochs))
        median = 1000 * statistics.median(each.later)
        lines.append(f"{name:14} first batch after {each.first:.2f} s, then {median:.2f} ms a step; by epoch {shares}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    waits = measure(options.epochs)
    told = json.dumps({name: asdict(each) for name, each in waits.items()})
    sys.stdout.write((told if options.json else describe(waits, options.epochs)) + "\n")


if __name__ == "__main__":
    main()
