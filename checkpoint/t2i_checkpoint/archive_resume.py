"""The first thing of every preflight: finish the archives that a killed process left, unless they became wrong."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.archive import (
    ArchiveAbandonedError,
    abandon_archive,
    is_committed,
    run_archive,
    unfinished_archives,
)
from t2i_checkpoint.inspect import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.archive import ArchiveManifest, ProgressCallback
    from t2i_checkpoint.inspect import Judgement
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted


_UNDECIDED = {VerdictKind.INCOMPLETE, VerdictKind.UNREADABLE}


def _serves(judgement: Judgement) -> bool:
    return not judgement.verdict.archivable and judgement.verdict.kind not in _UNDECIDED


def finish_archives(
    store: Store,
    wanted: Wanted,
    on_progress: ProgressCallback | None = None,
    *,
    keep: Callable[[Judgement], bool] = _serves,
) -> tuple[ArchiveManifest, ...]:
    """Finish every unfinished archive and return what was archived; one LIST where there is none.

    An archive that is not committed yet is given up if `keep` holds of a checkpoint of it as it is judged *now*: the
    job's spec was corrected meanwhile, and moving the checkpoint away would throw its progress away. By default
    everything is kept that could serve now. While one cannot be read, nobody knows, and the archive waits. Raises as
    `run_archive` and `survey` do.
    """
    intents = unfinished_archives(store)
    if not intents:
        return ()
    judgements = survey(store, wanted).judgements
    kept = {found.folder for found in judgements if keep(found)}
    unknown = {found.folder for found in judgements if found.verdict.kind is VerdictKind.UNREADABLE}
    finished = []
    for intent in intents:
        folders = {folder.folder for folder in intent.folders}
        # What was given up stays so: its checkpoint is in the survey that follows.
        with contextlib.suppress(ArchiveAbandonedError):
            if not is_committed(store, intent):
                if needed := sorted(kept & folders):
                    abandon_archive(store, intent, f"{needed[0]} can serve the job as it is now")
                elif unknown & folders:
                    continue
            finished.append(run_archive(store, intent, on_progress))
    return tuple(finished)
