"""The trainer's own exceptions, and what the store's mean as an exit status; for processes without torch too."""

from __future__ import annotations

from t2i_api.progress import ExitCode
from t2i_checkpoint.store import AccessDenied, InvalidLocation, NotFound, StoreError

_MOST_CHARACTERS = 500


class TrainerError(Exception):
    """The run cannot go on; `code` says whether trying again can help."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(Exception):  # noqa: N818  # no error: the run was asked to stop, and did so in order
    """The run stopped on request after saving `checkpoint`, a folder name."""

    def __init__(self, step: int, checkpoint: str) -> None:
        super().__init__(f"stopped on request after step {step}; everything up to there is saved in {checkpoint}")


def words_of(error: BaseException) -> str:
    """Return what an exception of a library says, on one line; its type where it says nothing."""
    return " ".join(str(error).split())[:_MOST_CHARACTERS] or type(error).__name__


def store_exit_code(error: StoreError) -> ExitCode:
    """Return the exit status for a failure of the store."""
    match error:
        case AccessDenied() | InvalidLocation():
            return ExitCode.BAD_CONFIGURATION
        case NotFound():
            return ExitCode.DATA_INVALID
        case _:
            return ExitCode.STORAGE_UNAVAILABLE
