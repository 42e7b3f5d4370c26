"""A small part of every tensor of a module, looked at without copying the whole: views that follow the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from t2i_trainer.shares import share_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_NUMBERS = 256  # of each tensor: 0.7 MB for the 686 tensors of Stable Diffusion's UNet


class Probe:
    """The first numbers of each tensor in memory order, of a sharded one those of this rank's share; holds no copy.

    A look costs one concatenation.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], numbers: int = _NUMBERS) -> None:
        held = {name: share_of(tensor) for name, tensor in tensors.items()}
        dense = {name: tensor for name, tensor in held.items() if _is_dense(tensor)}
        self.names = tuple(dense)
        self._views = [tensor.as_strided((min(tensor.numel(), numbers),), (1,)) for tensor in dense.values()]
        self._ends = np.cumsum([len(view) for view in self._views])[:-1]

    def look(self) -> torch.Tensor:
        """Return the numbers, float32 [N], on the module's device: a copy that stays as it is."""
        return torch.cat([view.float() for view in self._views])

    def split(self, numbers: torch.Tensor) -> list[NDArray[np.float32]]:
        """Cut what `look` returned into tensors, on the CPU."""
        return list(np.split(numbers.cpu().numpy(), self._ends))


def trained(module: torch.nn.Module, *, untrained: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Return the parameters that training must move; `untrained` are ends of names that it must not."""
    return dict(_without(module.named_parameters(), untrained))


def fingerprint(numbers: torch.Tensor) -> torch.Tensor:
    """Return a sum over the bits of float32 numbers as float64: equal for equal numbers, exact below 4 million."""
    return numbers.contiguous().view(torch.int32).double().sum()


def _without(
    parameters: Iterator[tuple[str, torch.nn.Parameter]], ends: Sequence[str]
) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for name, parameter in parameters:
        if not any(name.endswith(end) for end in ends):
            yield name, parameter


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether memory holds the tensor's numbers and no others, in whatever order."""
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)  # noqa: PLR2004  # NCHW
    return tensor.numel() > 0 and (tensor.is_contiguous() or channels_last)
