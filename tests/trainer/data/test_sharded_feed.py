"""Batches from shards: those of a set in memory, whoever reads them, ahead or not, with a bounded cache on the disk."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
import torch

from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.s3 import S3Store
from t2i_checkpoint.store import Credentials, NotFound
from t2i_trainer.data.feed import Batch, DrawnFeed
from t2i_trainer.data.imagefolder import read_imagefolder
from t2i_trainer.data.prefetch import PrefetchingFeed, threads_for
from t2i_trainer.data.samples import PicturesInMemory, ShardedSamples
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.data.shard_cache import ShardCache
from t2i_trainer.data.shard_file import ShardReader
from t2i_trainer.data.shard_index import read_index
from t2i_trainer.data.shard_order import ShardOrder
from t2i_trainer.data.space import LatentSpace, PixelSpace
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_checkpoint.store import Store
    from t2i_dev.s3_server import S3Server
    from t2i_trainer.data.samples import Samples

SEED, BATCH = 5, 4
CPU = torch.device("cpu")


def drawn(samples: Samples, place: Any, null: torch.Tensor, space: Any, shards: ShardOrder | None = None) -> DrawnFeed:
    return DrawnFeed(
        samples=samples,
        space=space,
        null=null,
        order=SampleOrder(len(samples), SEED, BATCH, shards),
        world=place,
        timesteps=1000,
        dropout=0.2,
    )


def sharded(store: Store, cache: Path, place: Any, null: torch.Tensor, space: Any) -> DrawnFeed:
    found = read_index(store)
    assert found is not None
    index, digest = found
    order = ShardOrder(index.counts, index.window_shards, SEED)
    samples = ShardedSamples(index, digest, order, ShardCache(store, index, cache, evicts=True))
    return drawn(samples, place, null, space, order)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch))


def on_s3(server: S3Server, prefix: str) -> S3Store:
    real = server.environment()
    credentials = Credentials(real["AWS_ACCESS_KEY_ID"], real["AWS_SECRET_ACCESS_KEY"])
    return S3Store(server.bucket, prefix, endpoint=server.endpoint, credentials=credentials)


def test_pixels_from_shards_are_those_from_memory(
    make_workshop: Callable[[str], Any], place: Callable[..., Any], tmp_path: Path
) -> None:
    workshop = make_workshop("pixels")
    workshop.encode(LocalStore(tmp_path / "out"), window_shards=8)
    null = workshop.encoders.null_embedding
    pictures = read_imagefolder(LocalStore(workshop.source), workshop.spec.data)
    texts = workshop.encoders.text.encode(pictures.captions).half().float()
    memory = drawn(PicturesInMemory(pictures, texts, torch.arange(10)), place(), null, PixelSpace(2))
    shards = sharded(LocalStore(tmp_path / "out"), tmp_path / "cache", place(), null, PixelSpace(2))
    for step in range(6):
        one, other = memory.batch(step), shards.batch(step)
        assert torch.allclose(one.conditioning, other.conditioning, atol=1e-3)  # captions meet in other batches
        assert torch.equal(one.latents, other.latents)
        assert torch.equal(one.noise, other.noise)
        assert torch.equal(one.timesteps, other.timesteps)


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_together_see_what_one_process_sees(
    make_workshop: Callable[[str], Any], place: Callable[..., Any], tmp_path: Path, size: int
) -> None:
    workshop, store = make_workshop("latents"), LocalStore(tmp_path / "out")
    workshop.encode(store)
    null, space = workshop.encoders.null_embedding, LatentSpace(0.5, 0.1)
    alone = sharded(store, tmp_path / "cache", place(), null, space)
    ranks = [sharded(store, tmp_path / "cache", place(rank, size), null, space) for rank in range(size)]
    for step in (0, 2, 40):
        parts = [rank.batch(step) for rank in ranks]
        for field in fields(Batch):
            together = torch.cat([getattr(part, field.name) for part in parts])
            assert torch.equal(together, getattr(alone.batch(step), field.name)), field.name


def test_latents_are_drawn_anew_each_epoch_around_the_mean(
    make_workshop: Callable[[str], Any], place: Callable[..., Any], tmp_path: Path
) -> None:
    workshop, store = make_workshop("latents"), LocalStore(tmp_path / "out")
    workshop.encode(store)
    feed = sharded(store, tmp_path / "cache", place(), workshop.encoders.null_embedding, LatentSpace(0.5, 0.0))
    draws = torch.cat([feed.batch(step).latents for step in range(100)])  # 40 epochs of 10 samples
    rows = SampleOrder(10, SEED, BATCH, ShardOrder(read_index(store)[0].counts, 2, SEED))  # type: ignore[index]
    which = torch.cat([torch.from_numpy(rows.rows(rows.indices(step, 0, 1))) for step in range(100)])
    pictures = read_imagefolder(LocalStore(workshop.source), workshop.spec.data)
    moments = workshop.encoders.vae.encode_moments(torch.from_numpy(pictures.pixels) / 127.5 - 1)
    mean, log_variance = moments.chunk(2, dim=1)
    for row in range(10):
        mine = draws[which == row] / 0.5
        assert len(mine) == 40
        assert len({tuple(each.flatten().tolist()) for each in mine}) == 40
        standardised = (mine - mean[row]) / (0.5 * log_variance[row]).exp()
        assert abs(float(standardised.mean())) < 0.05
        assert abs(float(standardised.std()) - 1) < 0.05


def test_batches_made_ahead_are_bit_equal_wherever_the_run_jumps(
    make_workshop: Callable[[str], Any], place: Callable[..., Any], tmp_path: Path
) -> None:
    workshop, store = make_workshop("latents"), LocalStore(tmp_path / "out")
    workshop.encode(store)
    plain = sharded(store, tmp_path / "cache", place(), workshop.encoders.null_embedding, LatentSpace(0.5, 0.0))
    ahead = PrefetchingFeed(plain, CPU, threads=3, steps=24)
    try:
        for step in (0, 1, 0, 7, 7, 8, 9, 10, 11, 3, 4, 22, 23, 23, 24):
            assert same(ahead.batch(step), plain.batch(step)), step
    finally:
        ahead.close()


def test_shards_of_a_bucket_are_fetched_and_only_a_few_kept(
    make_workshop: Callable[[str], Any], place: Callable[..., Any], s3_server: S3Server, tmp_path: Path
) -> None:
    workshop, bucket = make_workshop("pixels"), on_s3(s3_server, f"shards/{tmp_path.name}")
    workshop.encode(LocalStore(tmp_path / "out"), samples_per_shard=1, window_shards=2)
    workshop.encode(bucket, samples_per_shard=1, window_shards=2)
    null = workshop.encoders.null_embedding
    near = sharded(LocalStore(tmp_path / "out"), tmp_path / "near", place(), null, PixelSpace(2))
    far = PrefetchingFeed(sharded(bucket, tmp_path / "far", place(), null, PixelSpace(2)), CPU, threads=2, steps=20)
    try:
        most = 0
        for step in range(20):
            assert same(far.batch(step), near.batch(step)), step
            most = max(most, len(list((tmp_path / "far").glob("*.safetensors"))))
    finally:
        far.close()
    assert 4 <= most <= 3 * 2 + 4  # three windows, and what four downloads may put down meanwhile
    assert not list((tmp_path / "near").glob("*.partial"))


def test_a_shard_that_is_evicted_before_it_is_open_is_fetched_again(
    make_workshop: Callable[[str], Any],
    place: Callable[..., Any],
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that was a window further on deleted the file between its download and its opening (seen in a test)."""
    workshop, bucket = make_workshop("pixels"), on_s3(s3_server, f"evicted/{tmp_path.name}")
    workshop.encode(bucket, samples_per_shard=1, window_shards=2)
    evicted: set[Path] = set()

    def evicting(path: Path, *known: Any) -> ShardReader:
        if path not in evicted:
            evicted.add(path)
            path.unlink()
        return ShardReader(path, *known)

    monkeypatch.setattr("t2i_trainer.data.shard_cache.ShardReader", evicting)
    feed = sharded(bucket, tmp_path / "cache", place(), workshop.encoders.null_embedding, PixelSpace(2))
    feed.batch(0)
    assert evicted


@pytest.mark.parametrize("kind", ["file", "s3"])
@pytest.mark.parametrize("fault", ["other-bytes", "shorter"])
def test_a_damaged_shard_ends_the_run_with_its_name_and_the_way_out(  # noqa: PLR0913, PLR0917  # fixtures
    make_workshop: Callable[[str], Any],
    place: Callable[..., Any],
    s3_server: S3Server,
    tmp_path: Path,
    kind: str,
    fault: str,
) -> None:
    workshop = make_workshop("pixels")
    store: Store = LocalStore(tmp_path / "out") if kind == "file" else on_s3(s3_server, f"damaged/{tmp_path.name}")
    shard = workshop.encode(store).index.shards[0]
    raw = store.read(shard.path)
    store.put(shard.path, raw[:-1] + bytes([raw[-1] ^ 1]) if fault == "other-bytes" else raw[:-1])
    feed = sharded(store, tmp_path / "cache", place(), workshop.encoders.null_embedding, PixelSpace(2))
    ahead = PrefetchingFeed(feed, CPU, threads=1, steps=9)
    what = r"has SHA-256 .*" if fault == "other-bytes" else r"has \d+ bytes, .*"
    with pytest.raises(TrainerError, match=rf"shards/00000-00000\.safetensors {what}Delete INDEX\.json") as caught:
        [ahead.batch(step) for step in range(9)]
    ahead.close()
    assert caught.value.code is ExitCode.DATA_INVALID


def test_a_lost_shard_is_named(make_workshop: Callable[[str], Any], place: Callable[..., Any], tmp_path: Path) -> None:
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    shard = workshop.encode(store).index.shards[0]
    store.delete([shard.path])
    feed = sharded(store, tmp_path / "cache", place(), workshop.encoders.null_embedding, PixelSpace(2))
    with pytest.raises((TrainerError, NotFound), match=r"00000-00000\.safetensors"):
        [feed.batch(step) for step in range(9)]


@pytest.mark.parametrize(("cores", "processes", "threads"), [(2, 1, 1), (2, 2, 1), (16, 1, 4), (192, 8, 4), (16, 8, 1)])
def test_making_ahead_leaves_a_core_to_each_process(cores: int, processes: int, threads: int) -> None:
    assert threads_for(cores, processes) == threads
