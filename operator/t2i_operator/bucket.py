"""What preflight and archive share about a job's bucket: opening it, its newest archive, and errors as outcomes."""

import logging

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint import layout
from t2i_checkpoint.archive import ArchiveError, SourceChangedError
from t2i_checkpoint.archive_plan import MAX_DOCUMENT_BYTES, ArchiveManifest, parse_archive_manifest
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import AccessDenied, Credentials, InvalidLocation, Store, StoreError, StoreListener
from t2i_checkpoint.unet_options import UnsupportedConfigError
from t2i_operator.observed import ArchiveFacts, StorageError, StorageErrorKind

log = logging.getLogger(__name__)


def job_store(job: DiffusionTrainingJob, credentials: Credentials | None, heard: StoreListener | None = None) -> Store:
    """Open `checkpoint.uri`; raises InvalidLocation for a directory."""
    checkpoint = job.spec.checkpoint
    refuse_directory(checkpoint.uri, "checkpoint.uri")
    return open_store(
        checkpoint.uri, endpoint=checkpoint.endpoint, credentials=credentials, region=checkpoint.region, heard=heard
    )


def refuse_directory(uri: str, field: str) -> None:
    """Raise InvalidLocation for what is no S3 URI."""
    if not uri.startswith("s3://"):
        raise InvalidLocation(
            "a directory lies on one machine, not in the cluster",
            uri=uri,
            operation="open",
            way_out=f"Write {field}: s3://bucket/prefix",
        )


def last_archive(store: Store, attempt: int) -> ArchiveFacts | None:
    """Return the newest completed archive, whoever made it: names begin with the time."""
    completed = {
        name
        for name, _, rest in (
            info.key.removeprefix(layout.ARCHIVE).partition("/") for info in store.list(layout.ARCHIVE)
        )
        if rest == layout.COMPLETED and layout.parse_archive_name(name) is not None
    }
    if not completed:
        return None
    key = f"{layout.ARCHIVE}{max(completed)}/{layout.MANIFEST}"
    try:
        manifest: ArchiveManifest = parse_archive_manifest(store.read(key, 0, MAX_DOCUMENT_BYTES + 1), key)
    except (ArchiveError, StoreError) as error:
        # Only what the status shows of the past depends on it.
        log.warning("the newest archive cannot be shown: %s", error)
        return None
    return ArchiveFacts(
        attempt=attempt,
        location=manifest.root.rstrip("/"),
        method=manifest.method.value,
        checkpoints=len(manifest.folders),
        objects=len(manifest.objects),
        bytes_total=manifest.size_bytes,
        bytes_done=manifest.size_bytes,
        done=True,
        finished_at=manifest.committed_at,
    )


def storage_error(error: Exception) -> StorageError:
    """Return what went wrong in words that a user can act on; what nobody foresaw is logged with its traceback."""
    kind = StorageErrorKind.UNAVAILABLE
    match error:
        case AccessDenied():
            kind = StorageErrorKind.ACCESS_DENIED
        case InvalidLocation():
            kind = StorageErrorKind.INVALID_LOCATION
        case UnsupportedConfigError():
            kind = StorageErrorKind.UNSUPPORTED_MODEL
        case SourceChangedError():
            kind = StorageErrorKind.SOURCE_CHANGED
        case ArchiveError():
            kind = StorageErrorKind.ARCHIVE_FAILED
        case StoreError():
            pass
        case _:
            log.error("storage work failed unexpectedly", exc_info=error)
            return StorageError(
                kind=kind, message=f"unexpected {type(error).__name__}: {error}; see the operator's log"
            )
    return StorageError(kind=kind, message=str(error))
