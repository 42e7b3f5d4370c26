"""Strided elements to row-major ones without numpy: memoryview's sliced copies do the work along the longest axis.

Shapes, strides and offsets count elements, as torch does.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def is_row_major(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether elements lie in order without gaps; the stride of an axis of one element says nothing."""
    if 0 in shape:
        return True
    wanted = row_major(shape)
    return all(size == 1 or has == must for size, has, must in zip(shape, stride, wanted, strict=True))


def extent(shape: Sequence[int], stride: Sequence[int], offset: int) -> int:
    """Return how many elements of the storage are needed: the last one's index and one; 0 where there are none."""
    if 0 in shape:
        return 0
    return offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) + 1


def gather(raw: bytes, item_bytes: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Return the elements in row-major order; `raw` begins at the first one and reaches to the last one's end."""
    if not shape:
        return raw[:item_bytes]
    if item_bytes not in _FORMATS:  # complex128: two numbers an element
        half = item_bytes // 2
        return gather(raw, half, (*shape, 2), (*(2 * step for step in stride), 1))
    source = memoryview(raw).cast(_FORMATS[item_bytes])
    gathered = bytearray(math.prod(shape) * item_bytes)
    target = memoryview(gathered).cast(_FORMATS[item_bytes])
    target_stride = row_major(shape)
    # Copy along the longest axis that moves; loop over the others.
    axis = max(range(len(shape)), key=lambda index: (stride[index] > 0, shape[index]))
    length, source_step, target_step = shape[axis], max(stride[axis], 1), target_stride[axis]
    others = [index for index in range(len(shape)) if index != axis]
    for position in itertools.product(*(range(shape[index]) for index in others)):
        begin = sum(at * stride[index] for at, index in zip(position, others, strict=True))
        to = sum(at * target_stride[index] for at, index in zip(position, others, strict=True))
        if stride[axis]:
            target[to : to + (length - 1) * target_step + 1 : target_step] = source[
                begin : begin + (length - 1) * source_step + 1 : source_step
            ]
        else:
            for step in range(length):
                target[to + step * target_step] = source[begin]
    target.release()
    return bytes(gathered)
