"""Everything before the first step: model, data, conditioning, and the tensors that the run begins or goes on with."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_checkpoint.wanted import meaning_from, model_config_sha256
from t2i_trainer.beginning import Starter
from t2i_trainer.checkpointing.save import RunFacts
from t2i_trainer.data.feed import DrawnFeed
from t2i_trainer.data.opening import Opener, TrainingData
from t2i_trainer.data.prefetch import PrefetchingFeed, threads_for
from t2i_trainer.data.sampling import SampleOrder
from t2i_trainer.model import build_unet, check_text_width
from t2i_trainer.sharding import building_device
from t2i_trainer.text_encoder import TextEncoder, embedding_sha256, fetch_text_encoder
from t2i_trainer.vae import Vae, fetch_vae, load_vae

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
    """A run that is ready for its next step; `prompts` float32 [P, T, D]; `vae` None in pixel space."""

    store: Store
    state: TrainingState
    feed: PrefetchingFeed
    prompts: torch.Tensor
    facts: RunFacts
    dataset_sha256: str
    metrics: MetricsLog
    vae: Vae | None = None
    skipped: tuple[SkippedSteps, ...] = ()


def prepare(configuration: RunConfiguration, world: World, telemetry: Telemetry) -> Prepared:
    """Build and load everything; raises TrainerError, StoreError."""
    spec = configuration.spec
    store = configuration.store(spec.checkpoint.uri)
    unet = build_unet(spec, building_device(spec.training, world))
    frozen = _open_frozen(configuration, world)
    data, null = frozen.data, frozen.null_embedding
    beginning = Starter(configuration, world, telemetry, store, unet, data, null).begin()
    null = beginning.null_embedding
    logger.info(
        "%d pictures, %.1f M parameters, %d processes on %s, %s",
        len(data),
        sum(parameter.numel() for parameter in unet.parameters()) / 1e6,
        world.size,
        world.device.type,
        beginning.described,
    )
    facts = RunFacts(
        writer=configuration.attempt.writer,
        seed=spec.training.seed,
        global_batch_size=spec.training.global_batch_size,
        dataset_size=len(data),
        meaning=meaning_from(spec, embedding_sha256(null)),
        null_embedding=null,
        model_config_sha256=model_config_sha256(spec),
        initial_weights=beginning.initial_weights,
    )
    return Prepared(
        store,
        beginning.state,
        _feed(configuration, world, data, null),
        frozen.prompts,
        facts,
        data.sha256,
        beginning.metrics,
        frozen.vae,
        beginning.skipped,
    )


@dataclass(frozen=True)
class _Frozen:
    """The job's data, and what its frozen models give."""

    data: TrainingData
    null_embedding: torch.Tensor
    prompts: torch.Tensor
    vae: Vae | None


def _open_frozen(configuration: RunConfiguration, world: World) -> _Frozen:
    """Fetch the frozen models and open the data with them; the text encoder is let go afterwards."""
    spec = configuration.spec
    models = configuration.run_directory
    world.run_where(world.leads_pod, lambda: _fetch(configuration))
    encoder = TextEncoder(models / "text_encoder", spec.model.text_encoder.max_tokens, world.device)
    vae = None if spec.model.vae is None else load_vae(spec, models / "vae", world.device)
    null = encoder.null_embedding()
    check_text_width(spec, null.shape[-1])
    data = Opener(configuration, world, models, encoder, null, vae).open()
    # One at a time, as stock pipelines do: other captions in the batch could change the last bits.
    prompts = [encoder.encode([prompt]) for prompt in spec.sampling.prompts]
    return _Frozen(data, null, torch.cat([null.new_empty(0, *null.shape), *prompts]), vae)


def _fetch(configuration: RunConfiguration) -> None:
    spec = configuration.spec
    fetch_text_encoder(spec, configuration.run_directory / "text_encoder")
    if spec.model.vae is not None:
        fetch_vae(spec, configuration.run_directory / "vae")


def _feed(configuration: RunConfiguration, world: World, data: TrainingData, null: torch.Tensor) -> PrefetchingFeed:
    spec, training = configuration.spec, configuration.spec.training
    drawn = DrawnFeed(
        samples=data.samples,
        space=data.space,
        null=null,
        order=SampleOrder(len(data), training.seed, training.global_batch_size, data.shards),
        world=world,
        timesteps=spec.diffusion.train_timesteps,
        dropout=spec.diffusion.conditioning_dropout,
        offset_noise=spec.diffusion.offset_noise,
    )
    threads = threads_for(os.cpu_count() or 1, configuration.attempt.processes_per_worker)
    return PrefetchingFeed(drawn, world.device, threads=threads, steps=training.steps)
