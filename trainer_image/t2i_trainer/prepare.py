"""Everything before the first step: model, data, conditioning, and the tensors that the run begins or goes on with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from t2i_checkpoint.wanted import meaning_from, model_config_sha256
from t2i_trainer.beginning import Starter
from t2i_trainer.checkpointing.save import RunFacts
from t2i_trainer.data.feed import Conditioning, Feed
from t2i_trainer.data.imagefolder import CaptionedPictures, read_imagefolder
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.model import build_unet, check_text_width
from t2i_trainer.text_encoder import TextEncoder, embedding_sha256, fetch_text_encoder

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store
    from t2i_trainer.checkpointing.state import TrainingState
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.metrics_log import MetricsLog
    from t2i_trainer.non_finite import SkippedSteps
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
    skipped: tuple[SkippedSteps, ...] = ()


def prepare(configuration: RunConfiguration, world: World, telemetry: Telemetry) -> Prepared:
    """Build and load everything; raises TrainerError, StoreError."""
    spec = configuration.spec
    store = configuration.store(spec.checkpoint.uri)
    unet = build_unet(spec, world.device)
    pictures = read_imagefolder(configuration.store(spec.data.uri), spec.data)
    conditioning, prompts = _encode(configuration, world, pictures)
    beginning = Starter(configuration, world, telemetry, store, unet, pictures, conditioning.null).begin()
    conditioning = replace(conditioning, null=beginning.null_embedding)
    logger.info(
        "%d pictures, %d distinct captions, %.1f M parameters, %d processes on %s, %s",
        len(pictures),
        len(conditioning.embeddings),
        sum(parameter.numel() for parameter in unet.parameters()) / 1e6,
        world.size,
        world.device.type,
        beginning.described,
    )
    order = SampleOrder(len(pictures), spec.training.seed, spec.training.global_batch_size)
    facts = RunFacts(
        writer=configuration.attempt.writer,
        seed=spec.training.seed,
        global_batch_size=spec.training.global_batch_size,
        dataset_size=len(pictures),
        meaning=meaning_from(spec, embedding_sha256(conditioning.null)),
        null_embedding=conditioning.null,
        model_config_sha256=model_config_sha256(spec),
        initial_weights=beginning.initial_weights,
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
    return Prepared(store, beginning.state, feed, prompts, facts, pictures.sha256, beginning.metrics, beginning.skipped)


def _encode(
    configuration: RunConfiguration, world: World, pictures: CaptionedPictures
) -> tuple[Conditioning, torch.Tensor]:
    """Run the text encoder over captions and prompts, once, and let it go."""
    spec = configuration.spec
    folder = configuration.run_directory / "text_encoder"
    if world.leads_pod:
        fetch_text_encoder(spec, folder)
    world.wait()
    encoder = TextEncoder(folder, spec.model.text_encoder.max_tokens, world.device)
    null = encoder.null_embedding()
    check_text_width(spec, null.shape[-1])
    distinct = sorted(set(pictures.captions))
    position = {caption: row for row, caption in enumerate(distinct)}
    rows = torch.tensor([position[caption] for caption in pictures.captions])
    prompts = encoder.encode(spec.sampling.prompts) if spec.sampling.prompts else null.new_empty(0, *null.shape)
    return Conditioning(encoder.encode(distinct), rows, null), prompts
