"""The training run, as a story: prepare, resume, step by step, save and draw on the way, finish.

Everything that a step needs is a pure function of its number; what lives is in `TrainingState`. Ranks meet in two
places a step: DDP's gradients, and one small sum that carries the loss and the wish to stop.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from t2i_api.progress import ExitCode, TrainerPhase
from t2i_checkpoint import layout
from t2i_trainer.checkpointing.retention import retire_checkpoints
from t2i_trainer.checkpointing.save import gather_rank_facts, save_checkpoint
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.data.sampling import seed_dropout
from t2i_trainer.diffusion import ForwardProcess, sample_losses
from t2i_trainer.failures import Interrupted, TrainerError
from t2i_trainer.metrics_log import MetricsRow
from t2i_trainer.optim import learning_rate_at, set_learning_rate
from t2i_trainer.prepare import prepare
from t2i_trainer.sample import draw_pictures, write_pictures
from t2i_trainer.telemetry import StepResult, Telemetry

if TYPE_CHECKING:
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.interruption import Interruption
    from t2i_trainer.prepare import Prepared
    from t2i_trainer.world import World


def train(configuration: RunConfiguration, world: World, telemetry: Telemetry, interruption: Interruption) -> None:
    """Run the attempt to its last step; raises Interrupted after a stop on request, others on failure."""
    run = Run(configuration, world, telemetry, interruption, prepare(configuration, world, telemetry))
    run.settle_gradient_buckets()
    telemetry.enter(TrainerPhase.TRAINING)
    while run.state.step < configuration.spec.training.steps:
        batch = run.feed.batch(run.state.step)
        wants_stop = run.step(batch)
        last = run.state.step == configuration.spec.training.steps
        # Pictures first: a run that is killed in between goes on from before this step, and draws them again.
        if last or (not wants_stop and run.is_due(configuration.spec.sampling.every_steps)):
            run.draw()
        if last or wants_stop or run.is_due(configuration.spec.checkpoint.every_steps):
            run.save(batch)
        if wants_stop and not last:
            raise Interrupted(run.state.step, telemetry.progress.last_checkpoint or "a checkpoint")
    telemetry.enter(TrainerPhase.FINISHED)


@dataclass
class Run:
    """One attempt under way."""

    configuration: RunConfiguration
    world: World
    telemetry: Telemetry
    interruption: Interruption
    prepared: Prepared

    def __post_init__(self) -> None:
        self.state = self.prepared.state
        self.feed = self.prepared.feed
        self._model: Any = self.world.accelerator.prepare(self.state.unet)
        self._forward = ForwardProcess(self.configuration.spec.diffusion, self.world.device)
        self._parameters = list(self.state.unet.parameters())
        self._drops_units = self.configuration.spec.model.unet.resolved.dropout > 0

    def is_due(self, every_steps: int | None) -> bool:
        """Whether something that happens every so many steps happens after this one."""
        return every_steps is not None and self.state.step % every_steps == 0

    def settle_gradient_buckets(self) -> None:
        """Let DDP order its buckets before the first real step.

        It does so after its first backward pass; a resumed run would otherwise add up its first gradients in another
        order than the uninterrupted one, and differ in the last bits for more than two ranks.
        """
        if self.world.size == 1:
            return
        self.world.accelerator.backward(self._losses(self.feed.batch(self.state.step)).mean())
        self._clear_gradients()

    def step(self, batch: Batch) -> bool:
        """Take one optimizer step; returns whether a rank wants to stop. A loss that is not finite changes nothing."""
        training = self.configuration.spec.training
        number = self.state.step + 1
        if self._drops_units:
            seed_dropout(training.seed, self.state.step, self.world.rank)
        losses = self._losses(batch)
        self.world.accelerator.backward(losses.mean())
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, training.gradient_clip, foreach=True)
        loss, wants_stop = self._tell(losses, training.global_batch_size)
        gradient_norm = float(norm)
        self._check_finite(number, loss, gradient_norm)
        rate = learning_rate_at(number, training)
        set_learning_rate(self.state.optimizer, rate)
        self.state.optimizer.step()
        self._clear_gradients()
        self.state.ema.update(number)
        self.state.step = number
        self._record(StepResult(step=number, loss=loss, gradient_norm=gradient_norm, learning_rate=rate))
        return wants_stop

    def save(self, batch: Batch) -> None:
        """Commit a checkpoint of the step just taken, then retire old ones; every rank returns after the commit."""
        self.telemetry.enter(TrainerPhase.SAVING)
        ranks = gather_rank_facts(self.world, self.state, batch)
        if self.world.leads:
            started = time.monotonic()
            manifest = save_checkpoint(
                self.prepared.store,
                self.configuration.run_directory / "save",
                state=self.state,
                trainer_state=TrainerState(
                    step=self.state.step,
                    dataset_size=self.prepared.facts.dataset_size,
                    dataset_sha256=self.prepared.dataset_sha256,
                    loss_smoothed=self.telemetry.progress.loss_smoothed,
                ),
                facts=self.prepared.facts,
                ranks=ranks,
                metrics=self.prepared.metrics.to_bytes(),
            )
            self.telemetry.saved(manifest, time.monotonic() - started)
            retire_checkpoints(self.prepared.store, manifest, self.configuration.spec.checkpoint.retain)
        self.world.wait()
        folder = layout.checkpoint_folder(self.state.step, self.prepared.facts.writer)
        self.telemetry.knows_checkpoint(folder.removeprefix(layout.CHECKPOINTS), self.state.step)
        self.telemetry.enter(TrainerPhase.TRAINING)

    def draw(self) -> None:
        """Draw the prompts from the averaged weights and write the pictures."""
        if not len(self.prepared.prompts):
            return
        self.telemetry.enter(TrainerPhase.SAMPLING)
        known = self.prepared
        pictures = draw_pictures(
            self.state.ema.module, self.configuration.spec, known.prompts, known.facts.null_embedding, self.world
        )
        if self.world.leads:
            self.telemetry.drew(write_pictures(known.store, self.state.step, pictures))
        self.telemetry.enter(TrainerPhase.TRAINING)

    def _losses(self, batch: Batch) -> torch.Tensor:
        latents, noise, timesteps = batch.latents, batch.noise, batch.timesteps
        noisy = self._forward.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
        prediction = self._model(noisy, timesteps, encoder_hidden_states=batch.conditioning).sample
        return sample_losses(prediction, self._forward.target(latents, noise, timesteps))

    def _tell(self, losses: torch.Tensor, global_batch_size: int) -> tuple[float, bool]:
        mine = torch.stack([losses.detach().double().sum(), losses.new_tensor(self.interruption.is_asked).double()])
        total, stops = self.world.sum(mine).tolist()
        return total / global_batch_size, stops > 0

    def _check_finite(self, number: int, loss: float, gradient_norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(gradient_norm):
            return
        self.telemetry.met_non_finite()
        known = self.telemetry.progress.last_checkpoint
        raise TrainerError(
            ExitCode.NON_FINITE_LOSS,
            f"step {number}: loss {loss}, gradient norm {gradient_norm}. The step was not taken; the last checkpoint "
            f"is {known or 'none'}. Lower training.learningRate or raise training.warmupSteps",
        )

    def _record(self, result: StepResult) -> None:
        self.telemetry.stepped(result)
        if self.world.leads:
            row = MetricsRow(
                step=result.step,
                loss=result.loss,
                gradientNorm=result.gradient_norm,
                learningRate=result.learning_rate,
                imagesPerSecond=self.telemetry.progress.images_per_second or 0.0,
                attempt=self.configuration.attempt.attempt,
            )
            self.prepared.metrics.append(row)

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
