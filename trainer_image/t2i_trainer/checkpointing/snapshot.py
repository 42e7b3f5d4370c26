"""The state of a run at one step, copied out of training's way: files in memory that another process can read.

`memfd_create` makes them: counted as this container's memory, but not bounded by the 64 MiB of a pod's `/dev/shm`.
Where the container has no room for them they lie in the run's directory instead. They are made once, page-locked where
there is a GPU, and filled anew by every save: safetensors files but for convolutions that lie channels-last, which
`row_major.py` turns where time is not training's.
"""

from __future__ import annotations

import logging
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_api.progress import ExitCode
from t2i_trainer.checkpointing.file_plan import FilePlan, LaidFile, Place, plan_file
from t2i_trainer.checkpointing.order import ChannelsLast
from t2i_trainer.errors import TrainerError
from t2i_trainer.memory import available_bytes
from t2i_trainer.shares import whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

logger = logging.getLogger("t2i_trainer")

# Of what is available; the rest is for what training has not asked for yet.
_SHARE_OF_MEMORY = 0.6
_PICTURE_DIMENSIONS = 4


@dataclass
class SharedFile:
    """A file without a name, open in this process; others inherit `descriptor`."""

    plan: FilePlan
    descriptor: int
    memory: mmap.mmap
    views: dict[str, torch.Tensor]
    channels_last: tuple[ChannelsLast, ...] = ()
    pinned: bool = False

    @property
    def laid(self) -> LaidFile:
        """The file for a process that has inherited the descriptor."""
        return LaidFile(f"/proc/self/fd/{self.descriptor}", self.plan, self.channels_last)


class Snapshot:
    """The safetensors files of a checkpoint, by their paths in its folder; they lie in `directory` if memory lacks."""

    def __init__(self, directory: Path, device: torch.device) -> None:
        self._directory = directory
        self._device = device
        self.files: dict[str, SharedFile] = {}

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Copy every tensor; when it returns, training may change them. Names and shapes are those of the first time.

        Of sharded tensors every rank gives its share meanwhile (`help_gathering`). Raises OSError where neither memory
        nor directory has the room.
        """
        if not self.files:
            self._allocate(tensors)
        if tensors.keys() != self.files.keys() or not all(
            file.plan.is_for(tensors[path]) for path, file in self.files.items()
        ):
            raise TrainerError(ExitCode.CRASHED, "names or shapes of what a checkpoint holds changed within the run")
        for path, held in tensors.items():
            file = self.files[path]
            for name, tensor in held.items():
                file.views[name].copy_(whole(tensor), non_blocking=file.pinned)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def close(self) -> None:
        """Let the memory go; a process that inherited it keeps what it reads."""
        for file in self.files.values():
            if file.pinned:
                torch.cuda.cudart().cudaHostUnregister(_address(file))  # type: ignore[no-untyped-call]
            file.views.clear()
            os.close(file.descriptor)
        self.files.clear()

    def _allocate(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        plans = {path: plan_file(held) for path, held in tensors.items()}
        needed = sum(plan.size for plan in plans.values())
        room = available_bytes()
        in_memory = hasattr(os, "memfd_create") and needed <= room * _SHARE_OF_MEMORY
        if not in_memory:
            logger.warning(
                "a snapshot of %.1f GiB finds no room in memory (%.1f GiB left): it goes to %s, which is slower",
                needed / 2**30,
                room / 2**30,
                self._directory,
            )
        for path, plan in plans.items():
            descriptor = self._memory(path, plan.size) if in_memory else self._unnamed(path, plan.size)
            memory = mmap.mmap(descriptor, plan.size)
            memory[: len(plan.header)] = plan.header
            turned = [place for place in plan.places if _is_channels_last(tensors[path][place.name])]
            file = SharedFile(plan, descriptor, memory, _views(plan, memory, turned), tuple(map(_to_turn, turned)))
            file.pinned = in_memory and self._device.type == "cuda" and _pin(file)
            self.files[path] = file

    def _memory(self, path: str, size: int) -> int:
        descriptor = os.memfd_create(path.replace("/", "-"))
        os.truncate(descriptor, size)
        return descriptor

    def _unnamed(self, path: str, size: int) -> int:
        """A file that vanishes with the processes that hold it open."""
        self._directory.mkdir(parents=True, exist_ok=True)
        place = self._directory / path.replace("/", "-")
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        place.unlink()
        os.posix_fallocate(descriptor, 0, size)  # a full disk would otherwise kill the process in the middle of a copy
        return descriptor


def _views(plan: FilePlan, memory: mmap.mmap, turned: Sequence[Place]) -> dict[str, torch.Tensor]:
    views = {
        place.name: torch.frombuffer(memory, dtype=place.dtype, count=place.count, offset=place.offset).view(
            place.shape
        )
        if place.count
        else torch.empty(place.shape, dtype=place.dtype)
        for place in plan.places
    }
    for place in turned:
        filters, channels, height, width = place.shape
        views[place.name] = views[place.name].view(filters, height, width, channels).permute(0, 3, 1, 2)
    return views


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether it lies so, and row-major order would be another one."""
    four = tensor.ndim == _PICTURE_DIMENSIONS and tensor.numel() > 0
    return four and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def _to_turn(place: Place) -> ChannelsLast:
    return ChannelsLast(offset=place.offset, item_bytes=place.dtype.itemsize, shape=place.shape)


def _address(file: SharedFile) -> int:
    return torch.frombuffer(file.memory, dtype=torch.uint8, count=1).data_ptr()


def _pin(file: SharedFile) -> bool:
    """Page-lock the file, so that the GPU writes into it at full speed; without it copies are only slower."""
    status = torch.cuda.cudart().cudaHostRegister(_address(file), file.plan.size, 0)  # type: ignore[no-untyped-call]
    if int(status) != 0:
        logger.warning("memory for snapshots cannot be page-locked (CUDA error %d): saves block longer", int(status))
    return int(status) == 0
