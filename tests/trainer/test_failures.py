"""Each way to fail has the exit status that says whether trying again can help."""

from __future__ import annotations

import pytest
import torch
from torch.distributed import DistBackendError

from t2i_api.progress import ExitCode
from t2i_checkpoint.store import AccessDenied, NotFound, ObjectChanged, StoreUnavailable
from t2i_trainer.failures import Interrupted, TrainerError, describe_failure

WHERE = {"uri": "s3://b/p", "operation": "read", "key": "k", "way_out": "Look"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TrainerError(ExitCode.NON_FINITE_LOSS, "nan"), ExitCode.NON_FINITE_LOSS),
        (Interrupted(5, "step-00000005-w"), ExitCode.INTERRUPTED),
        (AccessDenied("no", **WHERE), ExitCode.BAD_CONFIGURATION),
        (NotFound("gone", **WHERE), ExitCode.DATA_INVALID),
        (StoreUnavailable("down", **WHERE), ExitCode.STORAGE_UNAVAILABLE),
        (ObjectChanged("other", **WHERE), ExitCode.STORAGE_UNAVAILABLE),
        (torch.OutOfMemoryError("CUDA out of memory"), ExitCode.OUT_OF_MEMORY),
        (MemoryError(), ExitCode.OUT_OF_MEMORY),
        (DistBackendError("NCCL"), ExitCode.PEER_LOST),
        (RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed"), ExitCode.PEER_LOST),
        (RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory"), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("shapes cannot be multiplied"), ExitCode.CRASHED),
        (KeyError("x"), ExitCode.CRASHED),
    ],
)
def test_an_error_has_its_exit_status(error: BaseException, code: ExitCode) -> None:
    found, text = describe_failure(error)
    assert found is code
    assert text
