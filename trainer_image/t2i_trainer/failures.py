"""Every way to fail, as an exit status and one sentence: what the operator and the person at the terminal act on.

Anything below raises `TrainerError` with its code, or an error of a library that `describe_failure` knows.
"""

from __future__ import annotations

import torch
from torch.distributed import DistBackendError, DistNetworkError, DistStoreError

from t2i_api.progress import ExitCode
from t2i_checkpoint.store import AccessDenied, InvalidLocation, NotFound, StoreError

# Gloo reports a lost peer as a plain RuntimeError; what marks it is the path of the source that raised it.
_GLOO_MARK = "gloo/"
_CPU_ALLOCATOR_MARK = "DefaultCPUAllocator"


class TrainerError(Exception):
    """The run cannot go on; `code` says whether trying again can help."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(Exception):  # noqa: N818  # no error: the run was asked to stop, and did so in order
    """The run stopped on request after saving `checkpoint`, a folder name."""

    def __init__(self, step: int, checkpoint: str) -> None:
        super().__init__(f"stopped on request after step {step}; everything up to there is saved in {checkpoint}")


def describe_failure(error: BaseException) -> tuple[ExitCode, str]:
    """Return exit status and sentence of an exception."""
    match error:
        case TrainerError():
            return error.code, str(error)
        case Interrupted():
            return ExitCode.INTERRUPTED, str(error)
        case AccessDenied() | InvalidLocation():
            return ExitCode.BAD_CONFIGURATION, str(error)
        case NotFound():
            return ExitCode.DATA_INVALID, str(error)
        case StoreError():
            return ExitCode.STORAGE_UNAVAILABLE, str(error)
        case torch.OutOfMemoryError() | MemoryError():
            return ExitCode.OUT_OF_MEMORY, f"{_first_line(error)}. Lower training.globalBatchSize or add workers"
        case DistBackendError() | DistNetworkError() | DistStoreError():
            return ExitCode.PEER_LOST, f"another process of the world is gone: {_first_line(error)}"
        case RuntimeError() if _GLOO_MARK in str(error):
            return ExitCode.PEER_LOST, f"another process of the world is gone: {_first_line(error)}"
        case RuntimeError() if _CPU_ALLOCATOR_MARK in str(error):
            return ExitCode.OUT_OF_MEMORY, f"{_first_line(error)}. Lower training.globalBatchSize or add memory"
        case _:
            return ExitCode.CRASHED, f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:1000]
