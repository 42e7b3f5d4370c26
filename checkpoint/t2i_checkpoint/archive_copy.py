"""The copying stage: every object of an intent below `archive/<name>/`, several at once, each verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.archive_documents import ArchivedObject, ArchiveError, SourceChangedError
from t2i_checkpoint.archive_verify import verify_copy
from t2i_checkpoint.parallel import run_all
from t2i_checkpoint.store import NotFound, ObjectChanged, ObjectInfo

if TYPE_CHECKING:
    from t2i_checkpoint.archive_documents import ArchiveEntry, ArchiveIntent
    from t2i_checkpoint.archive_progress import ProgressMeter
    from t2i_checkpoint.archive_verify import Verified
    from t2i_checkpoint.store import Store


def copy_all(store: Store, intent: ArchiveIntent, meter: ProgressMeter, concurrency: int) -> tuple[ArchivedObject, ...]:
    """Copy and verify, in the order of the intent; what an earlier process copied is only compared, byte by byte.

    Raises SourceChangedError and ArchiveError; nothing is deleted.
    """
    return tuple(run_all(lambda entry: _copy(store, entry, meter), intent.entries, workers=concurrency))


def _copy(store: Store, entry: ArchiveEntry, meter: ProgressMeter) -> ArchivedObject:
    source = ObjectInfo(entry.source, entry.size, entry.etag, entry.modified_at)
    try:
        verified = verify_copy(store, source, entry.destination, made_elsewhere=True)
        if verified is not None:
            meter.found(entry.size)
        else:
            # Only this archive writes below its own name: an open upload there is one that was broken off.
            store.copy(entry.source, entry.destination, source_etag=entry.etag, exclusive=True, listener=meter)
            verified = verify_copy(store, source, entry.destination)
    except (ObjectChanged, NotFound) as error:
        if error.key == entry.destination or entry.is_unchanged(store.head(entry.source)):
            # A second archiver wrote the copy again while it was read, or the store refused for once.
            detail = f"{entry.source} could not be copied or verified: {error}. Nothing was deleted; run again"
            raise ArchiveError("CopyRefused", detail) from error
        raise SourceChangedError(f"{entry.source} changed while it was copied; nothing was deleted") from error
    if verified is None:
        detail = f"{entry.destination} is not equal to {entry.source} after copying; nothing was deleted; run again"
        raise ArchiveError("CopyDiffers", detail)
    meter.finished_object()
    return _archived(entry, verified)


def _archived(entry: ArchiveEntry, verified: Verified) -> ArchivedObject:
    return ArchivedObject(
        source=entry.source,
        destination=entry.destination,
        size=entry.size,
        etag=verified.copied.etag,
        checksum=verified.checksum,
        modified_at=entry.modified_at,
        verified_by=verified.by,
    )
