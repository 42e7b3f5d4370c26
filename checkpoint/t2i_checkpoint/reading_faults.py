"""Why a checkpoint could not be read, as an exception inside the readers and as a `Fault` outside of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.facts import Fault
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.store import AccessDenied, NotFound, ObjectChanged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.store import StoreError


class FaultError(Exception):
    """Ends the reading of one checkpoint with a verdict's kind and reason."""

    def __init__(self, kind: VerdictKind, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(kind, reason, detail)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Let a header's fault say which file of the checkpoint it is in."""
    try:
        yield
    except HeaderError as error:
        raise HeaderError(error.fault, f"{path}: {error.detail}", is_short=error.is_short) from error


def store_fault(error: StoreError) -> Fault:
    """Return the fault for a read that the store refused or failed; never a reason to archive."""
    if isinstance(error, NotFound | ObjectChanged):
        reason = "ChangedWhileReading"
    else:
        reason = "AccessDenied" if isinstance(error, AccessDenied) else "StoreUnavailable"
    return Fault(VerdictKind.UNREADABLE, reason, str(error))
