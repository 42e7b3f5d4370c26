"""The averages of the weights: the classic one, as a UNet of its own that pictures are drawn with, and power profiles.

Power profiles (Karras et al. 2024) are kept beside it where the job asks for them: any width can be made of their
snapshots afterwards, when it is known which one draws best. All averages weigh the weights of each step by its number,
so that their tensors are all that a resume needs. Steps without a trace in the weights count too (decision 0177).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_api.progress import ExitCode
from t2i_checkpoint.power_average import decay_between, gamma_of, profile_file, width_of_file
from t2i_trainer.failures import TrainerError
from t2i_trainer.shares import placed, share_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn


@dataclass(frozen=True)
class PowerProfile:
    """One power-function average, `tensors` by parameter name."""

    width: float
    gamma: float
    tensors: Mapping[str, torch.Tensor]


class ExponentialMovingAverage:
    """`module` holds the classic average; with `warms_up` its decay grows: a random beginning is forgotten.

    `profiles` are the power-function averages, whose first update takes the weights whole. Of a sharded model each rank
    averages its own share; `module` then is what `copy_for_average` made before, sharded like the model.
    """

    def __init__(  # noqa: PLR0913  # keyword-only facts of the run
        self,
        model: nn.Module,
        decay: float,
        *,
        warms_up: bool = True,
        power_widths: Iterable[float] = (),
        every_steps: int = 1,
        module: nn.Module | None = None,
    ) -> None:
        self.module = copy_for_average(model) if module is None else module
        self._decay = decay
        self._warms_up = warms_up
        self._every_steps = every_steps
        self._averages = _shares(self.module.parameters())
        self._sources = _shares(model.parameters())
        self.profiles = tuple(
            PowerProfile(width, gamma_of(width), {name: _copy(each) for name, each in model.named_parameters()})
            for width in power_widths
        )

    @torch.no_grad()
    def update(self, step: int, *, since: int | None = None) -> None:
        """Take in the weights after `step` (1 is the first); with `since` they count for all steps after that one.

        Only every so many steps is anything done, with all the decay that is due by then. A step that was left out
        counts like any other: its weights are those of the step before.
        """
        every = self._every_steps
        before = step - 1 if since is None else since
        first, last = before - before % every, step - step % every
        if first == last:
            return
        decays = (decay_at(each, self._decay) for each in range(first + 1, last + 1))
        self._blend(self._averages, math.prod(decays) if self._warms_up else self._decay ** (last - first))
        for profile in self.profiles:
            self._blend(_shares(profile.tensors.values()), decay_between(first, last, profile.gamma))

    def profile_tensors(self) -> dict[str, Mapping[str, torch.Tensor]]:
        """Return the power profiles by their file in a checkpoint."""
        return {profile_file(profile.width): profile.tensors for profile in self.profiles}

    @torch.no_grad()
    def load_profile(self, path: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put a stored profile back; raises KeyError or RuntimeError where names or shapes differ."""
        mine = self.profile_tensors()[path]
        if mine.keys() != tensors.keys():
            raise KeyError(f"{path} holds other parameters than the model: {sorted(mine.keys() ^ tensors.keys())[:4]}")
        for name, tensor in tensors.items():
            if tensor.shape != mine[name].shape:  # copy_ would broadcast
                raise RuntimeError(f"{path}: {name} has shape {tuple(tensor.shape)}, not {tuple(mine[name].shape)}")
            mine[name].copy_(placed(tensor, mine[name]))

    def _blend(self, averages: tuple[torch.Tensor, ...], decay: float) -> None:
        torch._foreach_lerp_(averages, self._sources, 1.0 - decay)


def copy_for_average(model: nn.Module) -> nn.Module:
    """Return the model as its average begins: the same weights, never trained."""
    return copy.deepcopy(model).eval().requires_grad_(requires_grad=False)


def decay_at(step: int, decay: float) -> float:
    """Return the decay of a step: (1 + step) / (10 + step) until that reaches `decay` (as in Diffusers' EMAModel)."""
    return min(decay, (1 + step) / (10 + step))


def check_stored_profiles(stored: Iterable[str], wanted: Iterable[str]) -> None:
    """Raise TrainerError unless a checkpoint keeps exactly the files of power profiles that the job asks for.

    A profile that begins in the middle of a run would never become what its width promises.
    """
    there, asked = (sorted(width for path in paths if (width := width_of_file(path))) for paths in (stored, wanted))
    if there != asked:
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"training.ema.powerWidths is {asked}, the checkpoint keeps {there}: averages of a run cannot begin in its "
            f"middle. Write powerWidths: {there}, or name another checkpoint.uri",
        )


def _shares(tensors: Iterable[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return tuple(share_of(each) for each in tensors)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone()
