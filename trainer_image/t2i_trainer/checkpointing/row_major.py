"""Convolutions are trained in channels-last memory and stored row-major; turning them takes longer than copying them.

So a snapshot holds them as they lie, and the uploading process turns them in place before it reads the file, while
training goes on. numpy and no torch here.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from t2i_trainer.checkpointing.order import ChannelsLast

_CHUNK_BYTES = 4 * 1024 * 1024


def make_row_major(path: Path, tensors: Iterable[ChannelsLast]) -> None:
    """Turn these tensors of a file in place; needs memory for a few megabytes, or for one filter if that is larger."""
    tensors = tuple(tensors)
    if not tensors:
        return
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for tensor in tensors:
            _turn(memory, tensor)


def _turn(memory: mmap.mmap, tensor: ChannelsLast) -> None:
    filters, channels, height, width = tensor.shape
    filter_bytes = channels * height * width * tensor.item_bytes
    rows = max(1, _CHUNK_BYTES // filter_bytes)
    for first in range(0, filters, rows):
        held = np.ndarray(
            (min(rows, filters - first), height, width, channels),
            f"u{tensor.item_bytes}",
            memory,
            tensor.offset + first * filter_bytes,
        )
        held.reshape(-1)[:] = held.transpose(0, 3, 1, 2).flatten()
