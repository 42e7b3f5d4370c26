"""What of a picture and its caption goes into a shard: decoding, autoencoder and text encoder, in bounded memory."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import save

from t2i_trainer.data.pictures import BrokenPictureError, decode_picture
from t2i_trainer.data.shard_file import ShardTensors, file_sha256
from t2i_trainer.data.shard_index import ENCODING_BATCH, Content, Recipe
from t2i_trainer.data.space import to_latents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from t2i_api.job import JobSpec
    from t2i_trainer.data.sources import PictureSource, SourceSample
    from t2i_trainer.text_encoder import TextEncoder
    from t2i_trainer.vae import Vae

_READERS = 16
_LOOK_AHEAD = 4 * ENCODING_BATCH
_HALF = np.finfo(np.float16)
_SHARD_BYTES_A_MIB = 1 << 20


@dataclass(frozen=True)
class Encoders:
    """The frozen models with the hashes of their weights; `vae` None in pixel space."""

    text: TextEncoder
    text_sha256: str
    null_embedding: torch.Tensor
    vae: Vae | None
    vae_sha256: str | None
    device: torch.device


def weights_sha256(folder: Path) -> str:
    """Return a hash over a model's weights files, wherever they came from."""
    digests = sorted(file_sha256(path) for path in folder.glob("*.safetensors"))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def recipe_of(
    spec: JobSpec, source: PictureSource, encoders: Encoders, *, shard_mib: int, skip_broken: bool = False
) -> Recipe:
    """Return what will make the shards; as many samples a shard as fit into `shard_mib`, each with its own caption."""
    resolution = spec.data.resolution
    tokens, width = encoders.null_embedding.shape
    if encoders.vae is None:
        shape, sample_bytes = (3, resolution, resolution), 3 * resolution**2
    else:
        channels, height, breadth = encoders.vae.latent_shape(resolution)
        shape, sample_bytes = (2 * channels, height, breadth), 2 * 2 * channels * height * breadth
    return Recipe(
        source_sha256=source.sha256,
        image_field=spec.data.image_field,
        caption_field=spec.data.caption_field,
        content=Content.PIXELS if encoders.vae is None else Content.MOMENTS,
        resolution=resolution,
        sample_shape=shape,
        vae_sha256=encoders.vae_sha256,
        text_encoder_sha256=encoders.text_sha256,
        max_tokens=tokens,
        text_width=width,
        samples_per_shard=max(1, shard_mib * _SHARD_BYTES_A_MIB // (sample_bytes + 2 * tokens * width)),
        skip_broken=skip_broken,
    )


def decoded(
    samples: Iterator[SourceSample], resolution: int, broken: list[str] | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield caption and pixels in order, a few of them read and decoded ahead by threads.

    A broken picture is added to `broken` and left out; without that list it is raised.
    """

    def read(sample: SourceSample) -> tuple[str, NDArray[np.uint8]]:
        raw = sample.load()
        if sample.caption is None:
            raise BrokenPictureError(f"{sample.where} has no caption")
        return sample.caption, decode_picture(raw, resolution, sample.where)

    under_way: deque[Future[tuple[str, NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="pictures") as pool:
        try:
            while True:
                for sample in itertools.islice(samples, _LOOK_AHEAD - len(under_way)):
                    under_way.append(pool.submit(read, sample))
                if not under_way:
                    return
                try:
                    found = under_way.popleft().result()
                except BrokenPictureError as error:
                    if broken is None:
                        raise
                    broken.append(str(error))
                else:
                    yield found
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def encode_shard(
    encoders: Encoders, pictures: Iterable[tuple[str, NDArray[np.uint8]]], recipe: Recipe, done: Callable[[int], None]
) -> ShardTensors | None:
    """Encode a shard's pictures, or return None where there is none; `done` hears how many more each time."""
    captions: list[str] = []
    parts: list[NDArray[np.generic]] = []
    pictures = iter(pictures)
    while batch := list(itertools.islice(pictures, recipe.encoding_batch)):
        captions += [caption for caption, _ in batch]
        parts.append(_stored(encoders, np.stack([pixels for _, pixels in batch])))
        done(len(batch))
    if not captions:
        return None
    distinct = sorted(set(captions))
    place = {caption: row for row, caption in enumerate(distinct)}
    text = _to_half(encoders.text.encode(distinct))
    return ShardTensors(np.concatenate(parts), text, [place[caption] for caption in captions], captions)


def null_file(embedding: torch.Tensor) -> bytes:
    """Return the file of the null embedding: `null_embedding` float32 [T, D]."""
    return save({"null_embedding": embedding.contiguous().numpy()})


def _stored(encoders: Encoders, pixels: NDArray[np.uint8]) -> NDArray[np.generic]:
    if encoders.vae is None:
        return pixels
    scaled = to_latents(torch.from_numpy(pixels).to(encoders.device), 1)
    return _to_half(encoders.vae.encode_moments(scaled))


def _to_half(values: torch.Tensor) -> NDArray[np.float16]:
    """Round to float16; what is beyond its range (an outlier of a broken model, log-variances never) is clamped."""
    clamped = values.float().clamp(float(_HALF.min), float(_HALF.max))
    half: NDArray[np.float16] = clamped.cpu().numpy().astype(np.float16)
    return half
