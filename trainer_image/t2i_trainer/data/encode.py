"""Encodes a source into shards: part by part, shard by shard; a run that was killed goes on with the next shard.

    ENCODING.json                  what makes the shards; written first, and compared by whoever goes on
    null-embedding.safetensors
    shards/<part>-<number>.safetensors, then .json: this shard is done
    INDEX.json                     all are done

Shards begin at fixed samples of the source and batches at fixed samples of a shard, so that the same source, models and
machine make the same bytes, whether the run was broken off or not.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.progress import ExitCode
from t2i_checkpoint.store import AlreadyExists, create_or_confirm
from t2i_trainer.data.encode_progress import EncodeProgress
from t2i_trainer.data.encoding import Encoders, decoded, encode_shard, null_file
from t2i_trainer.data.shard_file import write_shard
from t2i_trainer.data.shard_index import (
    INDEX,
    NULL_EMBEDDING,
    RECIPE,
    Recipe,
    Shard,
    ShardIndex,
    ShardRecord,
    StoredFile,
    read_index,
    read_small,
    record_key,
    shard_key,
    to_json,
)
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from t2i_checkpoint.store import Store
    from t2i_trainer.data.sources import PictureSource, SourceSample

logger = logging.getLogger("t2i_trainer")

# Enough shards at a time that neighbours in the source are far apart in training, few enough for a pod's disk.
DEFAULT_WINDOW_SHARDS = 8


@dataclass(frozen=True)
class Encoded:
    """What lies there now; `broken` names what this run left out."""

    index: ShardIndex
    progress: EncodeProgress
    broken: tuple[str, ...]


class Encoding:
    """One run; `report` is called after every batch, from the thread that encodes."""

    def __init__(  # noqa: PLR0913  # keyword-only facts of the run
        self,
        *,
        source: PictureSource,
        destination: Store,
        encoders: Encoders,
        recipe: Recipe,
        window_shards: int,
        scratch: Path,
        report: Callable[[EncodeProgress], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._store = destination
        self._encoders = encoders
        self._recipe = recipe
        self._window_shards = window_shards
        self._scratch = scratch
        self._report = report
        self._records: list[ShardRecord] = []
        self._broken: list[str] = []
        self._samples = self._kept = self._left_out = self._bytes = 0
        self._began = time.monotonic()

    def run(self) -> Encoded:
        """Encode what is not done yet; raises TrainerError, StoreError."""
        done = read_index(self._store)
        if done is not None:
            self._compare(done[0].recipe)
            self._kept = self._samples = done[0].samples
            return Encoded(done[0], self.progress, ())
        self._begin()
        sizes = {info.key: info.size for info in self._store.list("shards/")}
        with ThreadPoolExecutor(1, thread_name_prefix="upload") as uploads:
            under_way: Future[None] | None = None
            for save in self._shards(sizes):
                if under_way is not None:
                    under_way.result()  # one shard is written while the next is encoded, never more
                under_way = uploads.submit(save)
            if under_way is not None:
                under_way.result()
        return Encoded(self._finish(), self.progress, tuple(self._broken))

    @property
    def progress(self) -> EncodeProgress:
        """Figures of this instant."""
        return EncodeProgress(
            samples=self._samples,
            total=self._source.count,
            kept=self._kept,
            broken=self._left_out,
            shards=len(self._records),
            bytes_written=self._bytes,
            seconds=time.monotonic() - self._began,
        )

    def _begin(self) -> None:
        try:
            create_or_confirm(self._store, RECIPE, to_json(self._recipe))
        except AlreadyExists:
            theirs = read_small(self._store, RECIPE, Recipe)
            self._compare(theirs)
            if theirs.skip_broken == self._recipe.skip_broken:
                raise
            # Before the first sample is left out, so that nobody takes the set for a whole one.
            self._store.put(RECIPE, to_json(self._recipe))
        if self._store.head(NULL_EMBEDDING) is None:
            self._store.put(NULL_EMBEDDING, null_file(self._encoders.null_embedding))

    def _compare(self, theirs: Recipe) -> None:
        different = self._recipe.differences(theirs)
        if different:
            raise TrainerError(
                ExitCode.DATA_INVALID,
                f"{self._store.uri} holds shards that were made otherwise ({'; '.join(different)}). Nothing was "
                "changed: encode into another folder, or with the same source, job and options",
            )

    def _shards(self, sizes: dict[str, int]) -> Iterator[Callable[[], None]]:
        """Yield what writes each shard that is not done yet; its samples are encoded before it is yielded."""
        for number, part in enumerate(self._source.parts):
            done = self._done(number, part.etag, sizes)
            if done and done[-1].is_last:
                continue
            samples = _Ahead(part.samples(len(done) * self._recipe.samples_per_shard))
            for place in itertools.count(len(done)):
                yield self._encode(number, place, samples, part.etag)
                if samples.ended:
                    break

    def _done(self, part: int, etag: str | None, sizes: dict[str, int]) -> list[ShardRecord]:
        """Return the records of a part's first shards, as many as are there without a gap and of its very file."""
        found: list[ShardRecord] = []
        for number in itertools.count():
            if record_key(part, number) not in sizes or (found and found[-1].is_last):
                break
            record = read_small(self._store, record_key(part, number), ShardRecord)
            if record.shard is not None and sizes.get(record.shard.path) != record.shard.size:
                break
            if not record.is_of(etag):
                logger.warning("part %d of the source is another file now: its shards are made anew", part)
                break
            found.append(record)
            self._records.append(record)
            self._left_out += record.broken_count
            self._kept += record.shard.samples if record.shard else 0
            self._encoded(record.shard.samples if record.shard else 0)
        return found

    def _encode(self, part: int, number: int, samples: _Ahead, etag: str | None) -> Callable[[], None]:
        broken: list[str] = []
        chosen = itertools.islice(samples, self._recipe.samples_per_shard)
        pictures = decoded(chosen, self._recipe.resolution, broken if self._recipe.skip_broken else None)
        tensors = encode_shard(self._encoders, pictures, self._recipe, self._encoded)
        self._broken += broken
        key = record_key(part, number)
        if tensors is None:
            record = ShardRecord.of(None, broken, is_last=samples.ended, part_etag=etag)
            self._records.append(record)
            self._left_out += len(broken)
            return lambda: self._store.put(key, to_json(record))
        path = self._scratch / f"{part:05d}-{number:05d}.safetensors"
        size, digest = write_shard(path, tensors)
        shard = Shard(path=shard_key(part, number), size=size, sha256=digest, samples=len(tensors.captions))
        record = ShardRecord.of(shard, broken, is_last=samples.ended, part_etag=etag)
        self._records.append(record)
        self._left_out += len(broken)
        self._bytes += size

        def save() -> None:
            self._store.upload(shard.path, path)
            path.unlink()
            self._store.put(key, to_json(record))

        return save

    def _encoded(self, samples: int) -> None:
        self._samples += samples
        self._report(self.progress)

    def _finish(self) -> ShardIndex:
        shards = tuple(record.shard for record in self._records if record.shard is not None)
        if not shards:
            raise TrainerError(ExitCode.DATA_INVALID, self._nothing_usable())
        null = self._store.head(NULL_EMBEDDING)
        raw = self._store.read(NULL_EMBEDDING, 0, None if null is None else null.size)
        index = ShardIndex(
            recipe=self._recipe,
            null_embedding=StoredFile(path=NULL_EMBEDDING, size=len(raw), sha256=hashlib.sha256(raw).hexdigest()),
            window_shards=self._window_shards,
            broken_count=self._left_out,
            shards=shards,
        )
        create_or_confirm(self._store, INDEX, to_json(index))
        return index

    def _nothing_usable(self) -> str:
        faults = [fault for record in self._records for fault in record.broken]
        first = f"all {self._left_out} samples are broken, the first: {faults[0]}" if faults else "it holds no sample"
        return f"{self._source.uri} has no usable picture: {first}"


class _Ahead:
    """An iterator that knows whether it has ended, by looking one sample ahead."""

    def __init__(self, samples: Iterator[SourceSample]) -> None:
        self._samples = samples
        self._next = next(samples, None)

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._next is None

    def __iter__(self) -> Iterator[SourceSample]:
        return self

    def __next__(self) -> SourceSample:
        found = self._next
        if found is None:
            raise StopIteration
        self._next = next(self._samples, None)
        return found
