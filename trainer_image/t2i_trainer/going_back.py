"""Going back in the middle of a run: the tensors of an earlier checkpoint, while the count of steps goes on.

See `non_finite.py` for why the count goes on. Every rank takes part; the first process of each pod fetches.

Steps that were gone back from may lie in the store as a checkpoint like any other. A resume may begin with one, since
its own record leads to the same going back again. Going back itself may not, so the record of each is read here.
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from pydantic import ValidationError

from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.archive import ArchiveError
from t2i_checkpoint.archive_reference import archived_references
from t2i_checkpoint.discovery import candidates
from t2i_checkpoint.listing import list_bounded
from t2i_checkpoint.store import NotFound
from t2i_trainer.checkpointing.judging import judge_resumable, wanted_of
from t2i_trainer.checkpointing.restore import fetch_checkpoint, load_checkpoint, open_fetched
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.errors import TrainerError
from t2i_trainer.model import architecture_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from t2i_checkpoint.layout import FolderName
    from t2i_checkpoint.store import ObjectInfo, Store
    from t2i_checkpoint.verdict import Wanted
    from t2i_trainer.checkpointing.state import TrainingState
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.non_finite import RollBack
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")


def go_back(configuration: RunConfiguration, world: World, store: Store, state: TrainingState, wish: RollBack) -> int:
    """Load the checkpoint that serves the wish best and keep counting; returns its step.

    Raises TrainerError(NON_FINITE_LOSS) where there is none, StoreError.
    """
    wanted, reader = wanted_of(configuration.spec, architecture_of(state.unet)), configuration.attempt.writer
    found: list[str] = []
    step = state.step
    world.run_where(world.leads, lambda: found.append(_name_for(store, wanted, wish, step)))
    name = world.share_text("".join(found))
    if not name:
        what = f"{wish.finding.sentence}. There is no checkpoint to go back to"
        raise TrainerError(ExitCode.NON_FINITE_LOSS, what)
    directory = configuration.run_directory / "going-back"
    world.run_where(world.leads_pod, lambda: fetch_checkpoint(store, name, wanted, directory, reader))
    load_checkpoint(open_fetched(directory), state)
    known, state.step = state.step, step
    state.ema.update(step, since=known)  # the steps in between were left out
    world.wait()
    if world.leads_pod:
        shutil.rmtree(directory)
    logger.warning("step %d: went back to the weights of %s; the samples since then are not seen again", step, name)
    return known


def whole_before(listing: Iterable[ObjectInfo], archived: Container[str], step: int) -> list[FolderName]:
    """Return the whole own checkpoints of a step below `step` that lie there, newest first, in the survey's order.

    Whole: committed, and neither known as damaged nor half deleted. `archived` are folders that are nobody's now.
    """
    return [
        each.folder
        for each in candidates(listing, without=archived)
        if each.folder.is_own and each.folder.step < step
        if layout.MANIFEST in each.objects and not {layout.DAMAGED, layout.RETIRED} & set(each.objects)
    ]


def _name_for(store: Store, wanted: Wanted, wish: RollBack, step: int) -> str:
    listing = list(list_bounded(store, layout.SURVEY_PREFIX))
    try:
        archived = archived_references(store, listing)
    except ArchiveError as error:  # which the survey meets too, and the operator says
        raise TrainerError(ExitCode.INCOMPATIBLE_WEIGHTS, f"{wish.finding.sentence}. {error}") from error
    for folder in sorted(whole_before(listing, archived, step), key=lambda each: wish.preference(each.step)):
        if _serves(store, folder, wanted, wish):
            return folder.name
    return ""


def _serves(store: Store, folder: FolderName, wanted: Wanted, wish: RollBack) -> bool:
    """Whether it holds the run's own past, and a resume would take it; one that does not is passed over, and said."""
    try:
        judge_resumable(store, folder.folder, wanted)
        state = TrainerState.model_validate_json(store.read(f"{folder.folder}/{layout.TRAINER_STATE}"))
    except (NotFound, ValidationError) as error:
        logger.warning("%s is passed over: its %s is of no use: %s", folder.name, layout.TRAINER_STATE, error)
        return False
    except TrainerError as error:
        if error.code is not ExitCode.INCOMPATIBLE_WEIGHTS:  # the store's fault, not the checkpoint's
            raise
        logger.warning("%s is passed over: %s", folder.name, error)
        return False
    return wish.may_load(folder.step, state.skipped)
