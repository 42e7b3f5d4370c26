"""What a storage worker does in a thread: look at a bucket, move what does not fit; outcomes, never exceptions."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import t2i_checkpoint.s3  # noqa: F401  # boto3 takes a second to import: at start, not in the first preflight
from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint import layout
from t2i_checkpoint.archive import ArchiveError, ArchiveProgress, SourceChangedError, plan_archive, run_archive
from t2i_checkpoint.archive_plan import MAX_DOCUMENT_BYTES, ArchiveManifest, parse_archive_manifest
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import Judgement, survey
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import AccessDenied, Credentials, InvalidLocation, Store, StoreError
from t2i_checkpoint.unet_options import UnsupportedConfigError
from t2i_checkpoint.wanted import wanted_from
from t2i_operator.observed import ArchiveFacts, PreflightFacts, StorageError, StorageErrorKind

log = logging.getLogger(__name__)


def run_preflight(job: DiffusionTrainingJob, attempt: int, credentials: Credentials | None) -> PreflightFacts:
    """Finish what a killed process left of an archive, then judge every checkpoint; blocking."""
    facts = PreflightFacts(attempt=attempt)
    try:
        wanted = wanted_from(job.spec)
        store = _store(job, credentials)
        finish_archives(store, wanted)
        found = survey(store, wanted)
        facts = replace(facts, survey=found, last_archive=_last_archive(store, attempt))
    except Exception as error:  # noqa: BLE001  # the last boundary of the thread: whatever it was becomes an outcome
        facts = replace(facts, error=_explain(error))
    return replace(facts, finished_at=datetime.now(UTC))


def run_job_archive(
    job: DiffusionTrainingJob,
    attempt: int,
    judgements: Sequence[Judgement],
    credentials: Credentials | None,
    report: Callable[[ArchiveFacts], None],
) -> ArchiveFacts:
    """Move these checkpoints to the archive; blocking. `report` is called from this thread as it goes on."""
    facts = ArchiveFacts(attempt=attempt, running=True, checkpoints=len(judgements))
    try:
        intent = plan_archive(judgements, now=datetime.now(UTC))
        facts = replace(
            facts,
            location=f"{layout.ARCHIVE}{intent.name}",
            objects=len(intent.entries),
            bytes_total=intent.size_bytes,
        )
        report(facts)

        def progressed(progress: ArchiveProgress) -> None:
            # Deleting begins at zero again; for the user it is still what was copied.
            done = progress.bytes_done if progress.stage == "Copying" else intent.size_bytes
            report(replace(facts, bytes_done=done))

        run_archive(_store(job, credentials), intent, progressed)
        facts = replace(facts, bytes_done=intent.size_bytes, done=True)
    except Exception as error:  # noqa: BLE001  # the last boundary of the thread: whatever it was becomes an outcome
        facts = replace(facts, error=_explain(error))
    return replace(facts, running=False, finished_at=datetime.now(UTC))


def _store(job: DiffusionTrainingJob, credentials: Credentials | None) -> Store:
    checkpoint = job.spec.checkpoint
    if not checkpoint.uri.startswith("s3://"):
        raise InvalidLocation(
            "a directory lies on one machine, not in the cluster",
            uri=checkpoint.uri,
            operation="open",
            way_out="Write checkpoint.uri: s3://bucket/prefix",
        )
    return open_store(checkpoint.uri, endpoint=checkpoint.endpoint, credentials=credentials, region=checkpoint.region)


def _last_archive(store: Store, attempt: int) -> ArchiveFacts | None:
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
        checkpoints=len(manifest.folders),
        objects=len(manifest.objects),
        bytes_total=manifest.size_bytes,
        bytes_done=manifest.size_bytes,
        done=True,
        finished_at=manifest.committed_at,
    )


def _explain(error: Exception) -> StorageError:
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
