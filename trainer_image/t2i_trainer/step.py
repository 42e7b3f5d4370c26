"""One optimizer step of this rank: losses, gradients, update, averages. The host only launches; it waits for nothing.

Ranks meet in two places: DDP's gradients, once a step however many passes it has, and one small sum that carries the
measures and the wish to stop. A step whose loss or gradient is not finite (or above a limit) is found out on the device
and left out there: weights and moments stay as they are, the step's number goes on, and the averages take in the
weights as they are.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from t2i_api.spec_training import Compile, Precision
from t2i_trainer.compilation import compile_whole, naming_the_setting
from t2i_trainer.data.sampling import seed_dropout
from t2i_trainer.diffusion import ForwardProcess, sample_losses
from t2i_trainer.optim import learning_rate_at, set_learning_rate
from t2i_trainer.shares import whole
from t2i_trainer.step_result import QUARTILES
from t2i_trainer.step_stream import (
    LENGTH,
    LOSS,
    NORM,
    OWN_NORM,
    QUARTILE_COUNTS,
    QUARTILE_LOSSES,
    QUARTILE_POWERS,
    SKIPPED,
    STOPS,
    SUMMED,
    StepStream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from t2i_api.job import JobSpec
    from t2i_trainer.checkpointing.state import TrainingState
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.interruption import Interruption
    from t2i_trainer.world import World


class TrainStep:
    """What every step of an attempt needs; `stream` carries what the steps measure."""

    def __init__(self, spec: JobSpec, world: World, state: TrainingState, interruption: Interruption) -> None:
        self.stream = StepStream(world.device, global_batch_size=spec.training.global_batch_size, world_size=world.size)
        self._training = spec.training
        self._timesteps = spec.diffusion.train_timesteps
        self._world = world
        self.state = state
        self._interruption = interruption
        self._compiles = spec.training.compile is Compile.WHOLE_GRAPH
        module = compile_whole(state.unet) if self._compiles else state.unet
        self._model: Any = world.average_gradients_of(module)
        self._forward = ForwardProcess(spec.diffusion, world.device)
        self._parameters = list(state.unet.parameters())
        self._drops_units = spec.model.unet.resolved.dropout > 0
        self._share = spec.training.global_batch_size // world.size
        self._micro_batch = min(spec.training.micro_batch_size or self._share, self._share)
        self._quarters = torch.arange(QUARTILES, device=world.device)[:, None]

    def take(self, batch: Batch, loss_limit: float = math.inf) -> None:
        """Take the step after `state.step` and send its measures on their way.

        Above `loss_limit` (mean over the global batch) nothing changes but the step's number.
        """
        number = self.state.step + 1
        if self._drops_units:
            seed_dropout(self._training.seed, self.state.step, self._world.rank)
        losses, powers = self._add_gradients(batch)
        norm = self._clip()
        totals = self._totals(losses, powers, batch.timesteps, norm)
        skipped = self._mark_skipped(totals, norm, loss_limit)
        rate = learning_rate_at(number, self._training)
        self._update(number, rate, skipped)
        self.state.step = number
        self.stream.push(number, rate, totals)

    def warm_up(self, batch: Batch) -> None:
        """Compile, and let DDP order its buckets, by one pass whose gradients are thrown away.

        DDP orders them after its first backward pass; a resumed run would otherwise add up its first gradients in
        another order than the uninterrupted one, and differ in the last bits for more than two ranks.
        """
        if self._world.size == 1 and not self._compiles:
            return
        part = next(self._parts(batch))
        with naming_the_setting():
            self._world.accelerator.backward(self._losses(part)[0].sum())
        self._clear_gradients()

    def _add_gradients(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Add up the gradients of all passes and exchange them; returns losses and powers, both [B]."""
        parts = list(self._parts(batch))
        losses, powers = [], []
        for place, part in enumerate(parts):
            # DDP waits for the last pass. FSDP exchanges after each: to wait, every rank would hold a whole gradient.
            with nullcontext() if place == len(parts) - 1 else self._world.accelerator.no_sync(self._model):
                with self.stream.forward_pass():
                    mine, power = self._losses(part)
                # Each sample weighs the same, however the share is cut; DDP takes the mean over ranks.
                self._world.accelerator.backward(self._forward.weighted(mine, part.timesteps).sum() / self._share)
            losses.append(mine.detach())
            powers.append(power)
        return torch.cat(losses), torch.cat(powers)

    def _clip(self) -> torch.Tensor:
        """Scale the gradients down to the job's largest norm; returns the norm that they had, over all shares."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients, foreach=True))
        torch.nn.utils.clip_grads_with_norm_(self._parameters, self._training.gradient_clip, norm, foreach=True)
        return norm

    def _losses(self, part: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each sample's loss, and what an answer of zero would have scored on it, both [B]."""
        latents, noise, timesteps = part.latents, part.noise, part.timesteps
        noisy = self._forward.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
        with self._arithmetic():
            prediction = self._model(noisy, timesteps, encoder_hidden_states=part.conditioning, return_dict=False)[0]
        target = self._forward.target(latents, noise, timesteps)
        return sample_losses(prediction, target), sample_losses(torch.zeros_like(target), target)

    def _totals(
        self, losses: torch.Tensor, powers: torch.Tensor, timesteps: torch.Tensor, norm: torch.Tensor
    ) -> torch.Tensor:
        """Return the step's vector, summed over the ranks (see `step_stream` for its places)."""
        values = losses.double()
        quarter = timesteps * QUARTILES // self._timesteps == self._quarters
        totals = values.new_zeros(LENGTH)
        totals[LOSS] = values.sum()
        totals[NORM] = norm
        totals[STOPS].fill_(float(self._interruption.is_asked))
        totals[QUARTILE_LOSSES:QUARTILE_POWERS] = torch.where(quarter, values, 0.0).sum(1)
        totals[QUARTILE_POWERS:QUARTILE_COUNTS] = torch.where(quarter, powers.double(), 0.0).sum(1)
        totals[QUARTILE_COUNTS:SUMMED] = quarter.sum(1)
        self._world.sum(totals[:SUMMED])
        totals[OWN_NORM] = norm
        return totals

    def _mark_skipped(self, totals: torch.Tensor, norm: torch.Tensor, loss_limit: float) -> torch.Tensor:
        """Decide on the device, from sums that all ranks share; returns float32 [], 1 where nothing may change."""
        loss = totals[LOSS] / self._training.global_batch_size
        good = torch.isfinite(totals[LOSS]) & torch.isfinite(totals[NORM]) & ~(loss > loss_limit)
        totals[SKIPPED] = ~good
        return (~good).to(norm.dtype)

    def _update(self, number: int, rate: float, skipped: torch.Tensor) -> None:
        optimizer = self.state.optimizer
        set_learning_rate(optimizer, rate)
        # The convention of torch's fused optimizers, made for its GradScaler: where found_inf is 1, nothing is written.
        optimizer.found_inf = skipped  # type: ignore[attr-defined]
        optimizer.grad_scale = None  # type: ignore[attr-defined]
        optimizer.step()
        self._clear_gradients()
        self.state.ema.update(number)

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        for start in range(0, self._share, self._micro_batch):
            yield batch.part(start, start + self._micro_batch)

    def _arithmetic(self) -> AbstractContextManager[object]:
        """Forward passes in bfloat16 where the job says so; weights, gradients and moments stay in float32."""
        if self._training.precision is Precision.FP32:
            return nullcontext()
        return torch.autocast(self._world.device.type, dtype=torch.bfloat16)

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
