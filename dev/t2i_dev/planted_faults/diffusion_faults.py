"""Faults of the diffusion itself: schedule, target, weights of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_api.spec_training import NoiseSchedule, PredictionType
from t2i_dev.planted_faults.planting import wrap
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.diffusion import ForwardProcess

if TYPE_CHECKING:
    import torch

    from t2i_api.job import JobSpec
    from t2i_dev.planted_faults.planting import Put


def cosine_with_epsilon(put: Put) -> None:
    """Train with a pair that the spec refuses, as somebody who removed the refusal."""

    def spec(self: RunConfiguration) -> JobSpec:
        diffusion = self.job.spec.diffusion.model_copy(update={"prediction_type": PredictionType.EPSILON})
        return self.job.spec.model_copy(update={"diffusion": diffusion})

    put(RunConfiguration, "spec", property(spec))


def another_schedule(put: Put) -> None:
    """Train with another schedule than the spec's."""

    def make(original: Any) -> Any:
        def build(self: ForwardProcess, diffusion: Any, device: torch.device) -> None:
            original(self, diffusion.model_copy(update={"schedule": NoiseSchedule.LINEAR}), device)

        return build

    wrap(put, ForwardProcess, "__init__", make)


def target_of_another_sample(put: Put) -> None:
    """Roll the target by one within the batch."""
    wrap(put, ForwardProcess, "target", lambda original: lambda *arguments: original(*arguments).roll(1, 0))


def weights_of_reversed_timesteps(put: Put) -> None:
    """Weigh each loss by 1/SNR instead of SNR, both clamped: pictures with little noise are hardly learnt from."""

    def weighted(self: ForwardProcess, losses: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        kept = self.alphas_cumprod[timesteps]
        return losses * ((1 - kept) / kept).clamp(max=5.0)

    put(ForwardProcess, "weighted", weighted)
