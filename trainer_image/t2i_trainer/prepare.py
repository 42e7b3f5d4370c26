"""Everything before the first step: model, data, conditioning and, where the attempt says so, the checkpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_checkpoint.wanted import meaning_from
from t2i_trainer.checkpointing.restore import (
    Expected,
    check_null_embedding,
    fetch_checkpoint,
    load_checkpoint,
    load_null_embedding,
)
from t2i_trainer.checkpointing.save import RunFacts
from t2i_trainer.checkpointing.state import TrainingState
from t2i_trainer.data.feed import Conditioning, Feed
from t2i_trainer.data.imagefolder import CaptionedPictures, read_imagefolder
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.metrics_log import MetricsLog
from t2i_trainer.model import architecture_of, build_unet, check_text_width
from t2i_trainer.optim import build_optimizer
from t2i_trainer.text_encoder import TextEncoder, embedding_sha256, fetch_text_encoder

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.telemetry import Telemetry
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")


@dataclass(frozen=True)
class Prepared:
    """A run that is ready for its next step; `prompts` float32 [P, T, D]."""

    store: Store
    state: TrainingState
    feed: Feed
    prompts: torch.Tensor
    facts: RunFacts
    dataset_sha256: str
    metrics: MetricsLog


def prepare(configuration: RunConfiguration, world: World, telemetry: Telemetry) -> Prepared:
    """Build and load everything; raises TrainerError, StoreError."""
    spec = configuration.spec
    store = configuration.store(spec.checkpoint.uri)
    unet = build_unet(spec, world.device)
    pictures = read_imagefolder(configuration.store(spec.data.uri), spec.data)
    conditioning, prompts = _encode(configuration, world, pictures)
    resumed = configuration.attempt.resume_from
    if resumed is not None:
        conditioning = _fetch(configuration, world, store, unet, conditioning, resumed)
    state = TrainingState(
        unet, ExponentialMovingAverage(unet, spec.training.ema.decay), build_optimizer(unet, spec.training)
    )
    metrics = MetricsLog()
    if resumed is not None:
        metrics = _load(configuration, store, state, pictures, telemetry, resumed)
    logger.info(
        "%d pictures, %d distinct captions, %.1f M parameters, %d processes on %s, %s",
        len(pictures),
        len(conditioning.embeddings),
        sum(parameter.numel() for parameter in unet.parameters()) / 1e6,
        world.size,
        world.device.type,
        f"resumed from {resumed}" if resumed else "from step 0",
    )
    order = SampleOrder(len(pictures), spec.training.seed, spec.training.global_batch_size)
    facts = RunFacts(
        writer=configuration.attempt.writer,
        seed=spec.training.seed,
        global_batch_size=spec.training.global_batch_size,
        dataset_size=len(pictures),
        meaning=meaning_from(spec, embedding_sha256(conditioning.null)),
        null_embedding=conditioning.null,
    )
    feed = Feed(
        pictures=pictures,
        conditioning=conditioning,
        order=order,
        world=world,
        timesteps=spec.diffusion.train_timesteps,
        dropout=spec.diffusion.conditioning_dropout,
        unshuffle=spec.model.pixel_unshuffle_factor,
    )
    return Prepared(store, state, feed, prompts, facts, pictures.sha256, metrics)


def _encode(
    configuration: RunConfiguration, world: World, pictures: CaptionedPictures
) -> tuple[Conditioning, torch.Tensor]:
    """Run the text encoder over captions and prompts, once, and let it go."""
    spec = configuration.spec
    folder = configuration.run_directory / "text_encoder"
    if world.leads_pod:
        fetch_text_encoder(configuration.store(spec.model.text_encoder.uri), folder)
    world.wait()
    encoder = TextEncoder(folder, spec.model.text_encoder.max_tokens, world.device)
    null = encoder.null_embedding()
    check_text_width(spec, null.shape[-1])
    distinct = sorted(set(pictures.captions))
    position = {caption: row for row, caption in enumerate(distinct)}
    rows = torch.tensor([position[caption] for caption in pictures.captions])
    prompts = encoder.encode(spec.sampling.prompts) if spec.sampling.prompts else null.new_empty(0, *null.shape)
    return Conditioning(encoder.encode(distinct), rows, null), prompts


def _fetch(  # noqa: PLR0913, PLR0917  # one call site
    configuration: RunConfiguration,
    world: World,
    store: Store,
    unet: torch.nn.Module,
    conditioning: Conditioning,
    name: str,
) -> Conditioning:
    """Bring the checkpoint into the pod, checked; returns the conditioning with the null embedding of its run."""
    spec = configuration.spec
    folder = configuration.run_directory / "restore"
    if world.leads_pod:
        expected = Expected(
            meaning=meaning_from(spec),
            seed=spec.training.seed,
            global_batch_size=spec.training.global_batch_size,
        )
        fetch_checkpoint(store, name, expected, architecture_of(unet), folder)
    world.wait()
    stored = load_null_embedding(folder)
    check_null_embedding(stored, conditioning.null, name)
    return Conditioning(conditioning.embeddings, conditioning.rows, stored)


def _load(  # noqa: PLR0913, PLR0917  # one call site
    configuration: RunConfiguration,
    store: Store,
    state: TrainingState,
    pictures: CaptionedPictures,
    telemetry: Telemetry,
    name: str,
) -> MetricsLog:
    restored = load_checkpoint(configuration.run_directory / "restore", state)
    if (restored.dataset_size, restored.dataset_sha256) != (len(pictures), pictures.sha256):
        logger.warning(
            "%s has changed since the checkpoint: %d pictures now, %d then. Training goes on with what is there now; "
            "the order of samples is a new one",
            configuration.spec.data.uri,
            len(pictures),
            restored.dataset_size,
        )
    telemetry.resumed(restored.step, name, restored.loss_smoothed)
    return MetricsLog.resumed(store, restored.step)
