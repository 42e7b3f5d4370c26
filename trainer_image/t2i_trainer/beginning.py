"""What the first step of an attempt starts from: a checkpoint, initial weights, or seeded random weights.

Whichever it is, all ranks hold the same tensors afterwards, which is proved by hash before the first step.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from t2i_api.progress import ExitCode
from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.manifest import InitialWeightsFacts
from t2i_trainer.checkpointing.initial_weights import facts_of, fill_module, log_beginning, plan_initial_weights
from t2i_trainer.checkpointing.judging import wanted_of
from t2i_trainer.checkpointing.restore import (
    fetch_checkpoint,
    is_same_null_embedding,
    load_checkpoint,
    open_fetched,
    refuse_null_embedding,
)
from t2i_trainer.checkpointing.retention import retire_checkpoints
from t2i_trainer.checkpointing.state import TrainingState, weights_sha256
from t2i_trainer.ema import ExponentialMovingAverage, copy_for_average
from t2i_trainer.failures import TrainerError
from t2i_trainer.metrics_log import MetricsLog, keep_earlier_rows
from t2i_trainer.model import architecture_of
from t2i_trainer.optim import build_optimizer
from t2i_trainer.sharding import shard, shards
from t2i_trainer.shares import is_sharded

if TYPE_CHECKING:
    import torch

    from t2i_api.attempt import InitialWeightsDocument
    from t2i_checkpoint.store import Store
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.data.opening import TrainingData
    from t2i_trainer.non_finite import SkippedSteps
    from t2i_trainer.telemetry import Telemetry
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")


@dataclass(frozen=True)
class Beginning:
    """Where an attempt stands before its first step; `null_embedding` float32 [T, D] is that of the whole run.

    `place` and `verdict` tell what was loaded, and are empty for random weights.
    """

    state: TrainingState
    null_embedding: torch.Tensor
    metrics: MetricsLog
    initial_weights: InitialWeightsFacts | None
    described: str
    skipped: tuple[SkippedSteps, ...] = ()
    place: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Starter:
    """What every kind of beginning needs; `null_embedding` is what the text encoder gives today."""

    configuration: RunConfiguration
    world: World
    telemetry: Telemetry
    store: Store
    unet: torch.nn.Module
    pictures: TrainingData
    null_embedding: torch.Tensor

    def begin(self) -> Beginning:
        """Follow the attempt document; raises TrainerError, StoreError."""
        attempt = self.configuration.attempt
        if attempt.resume_from is not None:
            beginning = self._resume(attempt.resume_from)
        elif attempt.initial_weights is not None:
            beginning = self._begin_with(attempt.initial_weights)
        else:
            beginning = self._begin_afresh()
        if beginning.initial_weights is not None:
            tensors = len(self.unet.state_dict())
            self.telemetry.began_with(beginning.initial_weights, tensors - len(beginning.initial_weights.fresh))
        check_equal_beginning(self.world, beginning.state)
        if attempt.resume_from is None:
            self.world.run_where(self.world.leads, lambda: keep_earlier_rows(self.store))
        beginning.metrics.note(beginning.state.step + 1, "beginning", self._for_the_record(beginning))
        return beginning

    def _for_the_record(self, beginning: Beginning) -> dict[str, Any]:
        """Return what the row of the attempt's first step says of it; the report page reads it."""
        training = self.configuration.spec.training
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "place": beginning.place,
            "verdict": beginning.verdict,
            "targetSteps": training.steps,
            "imagesAStep": training.global_batch_size,
        }

    def _begin_afresh(self) -> Beginning:
        # The same seed gives other last bits on another kind of processor.
        for tensor in self.unet.state_dict().values():
            self.world.share(tensor)
        return Beginning(self._state(None), self.null_embedding, MetricsLog(), None, "from step 0")

    def _begin_with(self, given: InitialWeightsDocument) -> Beginning:
        location = self.configuration.open_initial_weights(given)
        plan = None
        if self.world.leads:
            wanted = replace(wanted_of(self.configuration.spec, architecture_of(self.unet)), run=None)
            plan = plan_initial_weights(location, given, wanted)
        text = self.world.share_text("" if plan is None else facts_of(plan, given).model_dump_json())
        facts = InitialWeightsFacts.model_validate_json(text)
        if plan is not None:
            log_beginning(plan, facts)
        fill_module(self.unet, location.store, {} if plan is None else plan.weights, self.world, given)
        average = copy_for_average(self.unet)  # begins as the weights
        stored = {} if plan is None or plan.ema is None else plan.ema
        fill_module(average, location.store, stored, self.world, given)
        return Beginning(
            self._state(facts, average),
            self.null_embedding,
            MetricsLog(),
            facts,
            f"from step 0 with the weights of {given.uri}",
            place="/".join(part for part in (facts.uri, facts.folder) if part),
            verdict=facts.verdict,
        )

    def _resume(self, name: str) -> Beginning:
        directory = self.configuration.run_directory / "restore"
        wanted = wanted_of(self.configuration.spec, architecture_of(self.unet))
        reader = self.configuration.attempt.writer
        self.world.run_where(
            self.world.leads_pod, lambda: fetch_checkpoint(self.store, name, wanted, directory, reader)
        )
        fetched = open_fetched(directory)
        stored = fetched.null_embedding()
        if not is_same_null_embedding(stored, self.null_embedding):
            refuse_null_embedding(self.store, name, wanted, self.null_embedding)
        state = self._state(fetched.manifest.initial_weights)
        load_checkpoint(fetched, state)
        self._compare_data(fetched.trainer_state.dataset_size, fetched.trainer_state.dataset_sha256)
        self.telemetry.resumed(fetched.manifest, name, fetched.trainer_state.loss_smoothed)
        metrics = MetricsLog.resumed(self.store, state.step)
        # The attempt before may have been killed in its last retention; this checkpoint was read back and checked.
        retain = self.configuration.spec.checkpoint.retain
        self.world.run_where(self.world.leads, lambda: retire_checkpoints(self.store, fetched.manifest, retain))
        if self.world.leads_pod:
            shutil.rmtree(directory)  # as large as three models, and scratch space is small
        renamed = "" if fetched.names is None else " under the model's new names"
        described = f"resumed from {name}{renamed}"
        verdict = VerdictKind.IDENTICAL if fetched.names is None else VerdictKind.RENAMED
        return Beginning(
            state,
            stored,
            metrics,
            fetched.manifest.initial_weights,
            described,
            skipped=fetched.trainer_state.skipped,
            place=f"{layout.CHECKPOINTS}{name}",
            verdict=verdict,
        )

    def _state(
        self, initial_weights: InitialWeightsFacts | None, average: torch.nn.Module | None = None
    ) -> TrainingState:
        """Make averages and optimizer for the weights as they are; shard all of it where the job says so."""
        training = self.configuration.spec.training
        average = copy_for_average(self.unet) if average is None else average
        if shards(training, self.world):
            for module in (average, self.unet):
                shard(module, training, self.world)
        # Only random values are worth forgetting; weights that were trained count from the first step.
        warms_up = initial_weights is None or bool(initial_weights.fresh)
        averages = ExponentialMovingAverage(
            self.unet,
            training.ema.decay,
            warms_up=warms_up,
            power_widths=training.ema.power_widths,
            every_steps=training.ema.every_steps,
            module=average,
        )
        return TrainingState(self.unet, averages, build_optimizer(self.unet, training))

    def _compare_data(self, size: int, sha256: str) -> None:
        if (size, sha256) != (len(self.pictures), self.pictures.sha256):
            logger.warning(
                "%s has changed since the checkpoint: %d pictures now, %d then. Training goes on with what is there "
                "now; the order of samples is a new one",
                self.configuration.spec.data.uri,
                len(self.pictures),
                size,
            )


def check_equal_beginning(world: World, state: TrainingState) -> None:
    """Raise TrainerError unless all ranks hold the same weights and averages.

    Of a sharded model each holds another part, cut from what rank 0 told all or from files that were verified.
    """
    if world.size == 1 or is_sharded(state.unet):
        return
    mine = hashlib.sha256((weights_sha256(state.unet) + weights_sha256(state.ema.module)).encode()).hexdigest()
    everyone = world.gather_digests(mine)
    if len(set(everyone)) > 1:
        raise TrainerError(
            ExitCode.CRASHED,
            f"the ranks begin with different weights ({', '.join(each[:8] for each in everyone)}). No step was taken; "
            "nothing was changed",
        )
    logger.info("all %d ranks begin with the same weights (%s)", world.size, mine[:8])
