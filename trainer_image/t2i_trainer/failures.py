"""Every way to fail, as an exit status and one sentence: what the operator and the person at the terminal act on.

Anything below raises `TrainerError` with its code, or an error of a library that `describe_failure` knows.
"""

from __future__ import annotations

import torch
from torch.distributed import DistBackendError, DistNetworkError, DistStoreError

from t2i_api.progress import ExitCode
from t2i_checkpoint.store import StoreError
from t2i_trainer.errors import Interrupted, TrainerError, store_exit_code

__all__ = ["Interrupted", "TrainerError", "describe_failure", "exit_code_of"]

# The first that fits counts: subclasses stand before their bases.
_CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ExitCode], ...] = (
    (Interrupted, ExitCode.INTERRUPTED),
    ((torch.OutOfMemoryError, MemoryError), ExitCode.OUT_OF_MEMORY),
    ((DistBackendError, DistNetworkError, DistStoreError), ExitCode.PEER_LOST),
)
# Gloo and the CPU allocator raise plain RuntimeErrors; what marks them is the source that they name.
_MARKS = {"gloo/": ExitCode.PEER_LOST, "DefaultCPUAllocator": ExitCode.OUT_OF_MEMORY}


def describe_failure(error: BaseException) -> tuple[ExitCode, str]:
    """Return exit status and sentence of an exception."""
    code = exit_code_of(error)
    match code:
        case ExitCode.PEER_LOST if not isinstance(error, TrainerError):
            return code, f"another process of the world is gone: {_first_line(error)}"
        case ExitCode.OUT_OF_MEMORY if not isinstance(error, TrainerError):
            return code, f"{_first_line(error)}. Lower training.globalBatchSize, or give the workers more memory"
        case ExitCode.CRASHED if not isinstance(error, TrainerError):
            return code, f"{type(error).__name__}: {_first_line(error)}"
        case _:
            return code, str(error)


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit status that stands for an exception."""
    if isinstance(error, TrainerError):
        return error.code
    if isinstance(error, StoreError):
        return store_exit_code(error)
    if isinstance(error, RuntimeError):
        for mark, code in _MARKS.items():
            if mark in str(error):
                return code
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), ExitCode.CRASHED)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:1000]
