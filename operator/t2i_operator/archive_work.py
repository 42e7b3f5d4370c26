"""What a storage worker does in a thread to put checkpoints away; outcomes, never exceptions."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from t2i_api.job import DiffusionTrainingJob
from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint import layout
from t2i_checkpoint.archive import plan_archive, run_archive
from t2i_checkpoint.archive_progress import ArchiveProgress
from t2i_checkpoint.store import Credentials, Store, StoreListener
from t2i_operator.bucket import job_store, storage_error
from t2i_operator.observed import ArchiveFacts
from t2i_operator.plan import StartArchive
from t2i_operator.probes import Probes

_COPYING = "Copying"


def run_job_archive(  # noqa: PLR0913  # one call site; the last with a default
    job: DiffusionTrainingJob,
    action: StartArchive,
    credentials: Credentials | None,
    probes: Probes,
    report: Callable[[ArchiveFacts], None],
    *,
    heard: StoreListener | None = None,
) -> ArchiveFacts:
    """Put these checkpoints away; blocking. `report` is called from this thread as it goes on, `heard` from any."""
    facts = ArchiveFacts(attempt=action.attempt, running=True, checkpoints=len(action.judgements))
    try:
        store = job_store(job, credentials, heard)
        method, warning = _method(job, store, credentials, probes)
        label = job.spec.checkpoint.archive.label
        intent = plan_archive(action.judgements, now=datetime.now(UTC), label=label, method=method)
        facts = replace(
            facts,
            location=f"{layout.ARCHIVE}{intent.name}",
            objects=len(intent.entries),
            bytes_total=intent.size_bytes,
            method=method.value,
            warning=warning,
        )
        report(facts)
        run_archive(store, intent, lambda progress: report(_so_far(facts, progress)))
        facts = replace(facts, bytes_done=intent.size_bytes, done=True)
    except Exception as error:  # noqa: BLE001  # the last boundary of the thread: whatever it was becomes an outcome
        facts = replace(facts, error=storage_error(error))
    return replace(facts, running=False, finished_at=datetime.now(UTC))


def _method(
    job: DiffusionTrainingJob, store: Store, credentials: Credentials | None, probes: Probes
) -> tuple[ArchiveMethod, str]:
    """Return the method that is safe on this store, and what the user must know if it is not the one asked for."""
    asked = job.spec.checkpoint.archive.method
    if asked is ArchiveMethod.REFERENCE:
        return asked, ""
    abilities = probes.abilities(job.spec.checkpoint, store, credentials)
    return abilities.safe_method, abilities.warning(asked) or ""


def _so_far(facts: ArchiveFacts, progress: ArchiveProgress) -> ArchiveFacts:
    if progress.stage != _COPYING:
        # Deleting begins at zero again; for the user it is still what was copied.
        return replace(facts, bytes_done=facts.bytes_total, bytes_per_second=None, eta_seconds=None)
    return replace(
        facts,
        bytes_done=progress.bytes_done,
        bytes_per_second=progress.bytes_per_second,
        eta_seconds=progress.eta_seconds,
    )
