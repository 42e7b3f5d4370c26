"""What is done in a bucket on behalf of a job: blocking calls of the checkpoint library, run in threads by `storage`."""

from datetime import UTC, datetime

from t2i_api.job import JobSpec
from t2i_checkpoint.archive import ArchiveError, SourceChangedError, plan_archive, run_archive
from t2i_checkpoint.archive_plan import ArchiveIntent
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import Judgement, Survey, survey
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import AccessDenied, Credentials, InvalidLocation, NotFound, Store, StoreError
from t2i_checkpoint.unet_options import UnsupportedConfigError
from t2i_checkpoint.wanted import wanted_from
from t2i_operator.observed import StorageError, StorageErrorKind

# What the bucket functions may raise on purpose.
EXPECTED_ERRORS = (StoreError, ArchiveError, UnsupportedConfigError)


def open_job_store(spec: JobSpec, credentials: Credentials | None) -> Store:
    """Open the job's checkpoint location; raises InvalidLocation."""
    checkpoint = spec.checkpoint
    return open_store(
        checkpoint.uri, endpoint=checkpoint.endpoint, credentials=credentials, region=checkpoint.region
    )


def preflight(spec: JobSpec, credentials: Credentials | None) -> Survey:
    """Finish what an earlier process began to archive, then judge what lies there; raises EXPECTED_ERRORS."""
    wanted = wanted_from(spec)
    store = open_job_store(spec, credentials)
    finish_archives(store, wanted)
    return survey(store, wanted)


def plan(judgements: tuple[Judgement, ...]) -> ArchiveIntent:
    """Fix name and contents of an archive that begins now; raises ArchiveError."""
    return plan_archive(judgements, now=datetime.now(UTC))


__all__ = ["EXPECTED_ERRORS", "describe", "open_job_store", "plan", "preflight", "run_archive"]


def describe(error: Exception) -> StorageError:
    """Return an expected error as a fact; the library's messages say what to do."""
    return StorageError(kind=_kind(error), message=str(error))


def _kind(error: Exception) -> StorageErrorKind:
    match error:
        case UnsupportedConfigError():
            return StorageErrorKind.UNSUPPORTED_MODEL
        case SourceChangedError():
            return StorageErrorKind.SOURCE_CHANGED
        case ArchiveError():
            return StorageErrorKind.ARCHIVE_FAILED
        case AccessDenied():
            return StorageErrorKind.ACCESS_DENIED
        case InvalidLocation() | NotFound():
            return StorageErrorKind.INVALID_LOCATION
        case _:
            return StorageErrorKind.UNAVAILABLE
