"""From a stored tensor's bytes to the parameter it belongs to: same shape, the parameter's dtype, finite. No pickle."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from t2i_checkpoint.tensors import read_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.tensors import AnyTensor

# In flight at once: enough to hide the latency of small tensors, few enough to hold in memory.
_READERS = 4
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class UnusableTensorError(Exception):
    """A stored tensor cannot become the parameter that it belongs to."""


def read_ahead(store: Store, tensors: Mapping[str, AnyTensor]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes in the given order, a few reads ahead; raises HeaderError, StoreError."""
    waiting: deque[tuple[str, Future[bytes]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="weights") as pool:
        for name, tensor in tensors.items():
            waiting.append((name, pool.submit(read_tensor, store, tensor)))
            if len(waiting) >= _READERS:
                first, future = waiting.popleft()
                yield first, future.result()
        for name, future in waiting:
            yield name, future.result()


@torch.no_grad()
def fill_parameter(target: torch.Tensor, raw: bytes, stored: AnyTensor) -> None:
    """Copy `raw`, row-major little-endian, into `target`; raises UnusableTensorError and leaves a broken `target`."""
    dtype = _DTYPES.get(stored.dtype)
    if dtype is None or dtype.is_floating_point != target.is_floating_point():
        raise UnusableTensorError(f"is stored as {stored.dtype}, the model holds {target.dtype}")
    if stored.shape != tuple(target.shape):  # copy_ would broadcast
        raise UnusableTensorError(f"has shape {list(stored.shape)}, the model's has {list(target.shape)}")
    if len(raw) != target.numel() * dtype.itemsize:
        raise UnusableTensorError(f"has {len(raw)} bytes, {stored.dtype} of this shape needs {target.numel()} elements")
    if raw:
        target.copy_(torch.frombuffer(bytearray(raw), dtype=dtype).reshape(stored.shape))
    if target.is_floating_point() and not bool(torch.isfinite(target).all()):
        raise UnusableTensorError(f"holds NaN or infinite values (stored as {stored.dtype})")
