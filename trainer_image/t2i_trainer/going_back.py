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
from t2i_trainer.checkpointing.judging import wanted_of
from t2i_trainer.checkpointing.restore import fetch_checkpoint, load_checkpoint, open_fetched
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.errors import TrainerError
from t2i_trainer.model import architecture_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from t2i_checkpoint.layout import FolderName
    from t2i_checkpoint.store import ObjectInfo, Store
    from t2i_trainer.checkpointing.state import TrainingState
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.non_finite import RollBack
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")


def go_back(configuration: RunConfiguration, world: World, store: Store, state: TrainingState, wish: RollBack) -> int:
    """Load the newest checkpoint that the wish fits and keep counting; returns its step.

    Raises TrainerError(NON_FINITE_LOSS) where there is none, StoreError.
    """
    name = world.share_text(_name_for(store, wish) if world.leads else "")
    if not name:
        raise TrainerError(
            ExitCode.NON_FINITE_LOSS,
            f"{wish.finding.sentence}. There is no checkpoint of a step before {wish.before} to go back to",
        )
    directory = configuration.run_directory / "going-back"
    wanted, reader = wanted_of(configuration.spec, architecture_of(state.unet)), configuration.attempt.writer
    world.run_where(world.leads_pod, lambda: fetch_checkpoint(store, name, wanted, directory, reader))
    step = state.step
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


def _name_for(store: Store, wish: RollBack) -> str:
    listing = list(list_bounded(store, layout.SURVEY_PREFIX))
    try:
        archived = archived_references(store, listing)
    except ArchiveError as error:  # which the survey meets too, and the operator says
        raise TrainerError(ExitCode.INCOMPATIBLE_WEIGHTS, f"{wish.finding.sentence}. {error}") from error
    for folder in whole_before(listing, archived, wish.before):
        state = _state_of(store, folder)
        if state is not None and wish.may_load(folder.step, state.skipped):
            return folder.name
    return ""


def _state_of(store: Store, folder: FolderName) -> TrainerState | None:
    """Return what the run noted beside the tensors; None where that cannot be read back: it is no way back then."""
    try:
        return TrainerState.model_validate_json(store.read(f"{folder.folder}/{layout.TRAINER_STATE}"))
    except (NotFound, ValidationError) as error:
        logger.warning("%s is passed over: its %s is of no use: %s", folder.name, layout.TRAINER_STATE, error)
        return None
