"""The first thing of every preflight: finish the archives that a killed process left, unless they became wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.archive import abandon_archive, is_committed, run_archive, unfinished_archives
from t2i_checkpoint.inspect import survey

if TYPE_CHECKING:
    from t2i_checkpoint.archive import ArchiveManifest, ProgressCallback
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

_FITS = {VerdictKind.IDENTICAL, VerdictKind.INFERENCE_ONLY}


def finish_archives(
    store: Store, wanted: Wanted, on_progress: ProgressCallback | None = None
) -> tuple[ArchiveManifest, ...]:
    """Finish every unfinished archive and return what was archived; one LIST where there is none.

    An archive that is not committed yet and whose checkpoint fits the job *now* is given up: the job's spec was
    corrected meanwhile, and moving the checkpoint away would throw its progress away. Raises as `run_archive` does.
    """
    intents = unfinished_archives(store)
    if not intents:
        return ()
    fitting = {found.folder for found in survey(store, wanted).judgements if found.verdict.kind in _FITS}
    finished = []
    for intent in intents:
        needed = sorted(fitting & {folder.folder for folder in intent.folders})
        if needed and not is_committed(store, intent):
            abandon_archive(store, intent, f"{needed[0]} fits the job as it is now")
        else:
            finished.append(run_archive(store, intent, on_progress))
    return tuple(finished)
