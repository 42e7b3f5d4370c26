"""The first thing of every preflight: finish the archives that a killed process left, unless they became wrong."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.spec_run import ArchiveMethod
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
    from collections.abc import Callable, Iterable, Sequence

    from t2i_checkpoint.archive import ArchiveIntent, ArchiveManifest, ProgressCallback
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
    why_not_move: Callable[[], Sequence[str]] = tuple,
) -> tuple[ArchiveManifest, ...]:
    """Finish every unfinished archive and return what was archived; one LIST where there is none.

    An archive that is not committed yet is given up if `keep` holds of a checkpoint of it as it is judged *now*: the
    job's spec was corrected meanwhile, and moving the checkpoint away would throw its progress away. By default
    everything is kept that could serve now. While one cannot be read, nobody knows, and the archive waits.
    `why_not_move` is asked once if there is something to move (`StoreAbilities.reasons`): where it gives a reason
    nothing is moved any more; what is committed is whole in the archive, and its source stays too.
    Raises as `run_archive` and `survey` do.
    """
    intents = unfinished_archives(store)
    if not intents:
        return ()
    judgements = survey(store, wanted).judgements
    moving = any(intent.method is ArchiveMethod.MOVE for intent in intents)
    now = _Now(
        kept=frozenset(found.folder for found in judgements if keep(found)),
        incomplete=_of_kind(judgements, VerdictKind.INCOMPLETE),
        unreadable=_of_kind(judgements, VerdictKind.UNREADABLE),
        why_not_move=tuple(why_not_move()) if moving else (),
    )
    finished = []
    for intent in intents:
        # What was given up stays so: its checkpoint is in the survey that follows.
        with contextlib.suppress(ArchiveAbandonedError):
            if not is_committed(store, intent):
                if why := now.why_to_give_up(intent):
                    abandon_archive(store, intent, why)
                elif now.unreadable & _folders(intent):
                    continue
            elif now.forbids(intent):
                continue
            finished.append(run_archive(store, intent, on_progress))
    return tuple(finished)


@dataclass(frozen=True)
class _Now:
    """What was found of every checkpoint (by folder) and of the store since the archives were begun."""

    kept: frozenset[str]
    incomplete: frozenset[str]
    unreadable: frozenset[str]
    why_not_move: tuple[str, ...]

    def why_to_give_up(self, intent: ArchiveIntent) -> str | None:
        """Return why an archive that is not committed must not be carried out, or None."""
        if needed := sorted(self.kept & _folders(intent)):
            return f"{needed[0]} can serve the job as it is now"
        if changed := sorted(self.incomplete & _folders(intent)):
            # Only whole checkpoints are ever planned: this one was changed since, or its intent is nobody's plan.
            return f"{changed[0]} is incomplete now"
        return f"moving is not safe: the store {self.why_not_move[0]}" if self.forbids(intent) else None

    def forbids(self, intent: ArchiveIntent) -> bool:
        """Whether the store does not honour what a move of this archive relies on."""
        return bool(self.why_not_move) and intent.method is ArchiveMethod.MOVE


def _of_kind(judgements: Iterable[Judgement], kind: VerdictKind) -> frozenset[str]:
    return frozenset(found.folder for found in judgements if found.verdict.kind is kind)


def _folders(intent: ArchiveIntent) -> set[str]:
    return {folder.folder for folder in intent.folders}
