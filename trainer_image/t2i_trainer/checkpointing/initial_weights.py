"""Initial weights: a run begins at step 0 with another checkpoint's tensors, each placed by the shared load plan.

Rank 0 reads, every rank receives; what the plan does not give keeps its seeded random value and is named in the log,
in the progress document and in every manifest of the run.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.load_plan import LoadPlan, NotLoadableError, load_plan
from t2i_checkpoint.manifest import InitialWeightsFacts
from t2i_checkpoint.store import NotFound, ObjectChanged
from t2i_trainer.checkpointing.judging import does_not_fit, refused
from t2i_trainer.checkpointing.stored_bytes import UnusableTensorError, fill_parameter, read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from t2i_api.attempt import InitialWeightsDocument
    from t2i_checkpoint.open import Location
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.tensors import AnyTensor
    from t2i_checkpoint.verdict import Wanted
    from t2i_trainer.world import World

logger = logging.getLogger("t2i_trainer")

_LOGGED_NAMES = 50


def plan_initial_weights(location: Location, given: InitialWeightsDocument, wanted: Wanted) -> LoadPlan:
    """Judge afresh and plan; raises TrainerError where the weights cannot serve, or no longer can."""
    path = given.folder or location.key or ""
    try:
        plan = load_plan(location.store, path, wanted, allow_partial=given.allow_partial)
    except NotLoadableError as error:
        raise refused(_shown(given), error.verdict) from error
    _check_coverage(plan, wanted, given)
    return plan


def facts_of(plan: LoadPlan, given: InitialWeightsDocument) -> InitialWeightsFacts:
    """Return what every manifest of the run says of where its first weights came from."""
    return InitialWeightsFacts(
        uri=given.uri,
        folder=given.folder,
        step=plan.judgement.step,
        verdict=plan.judgement.verdict.kind,
        fresh=plan.fresh,
    )


def log_beginning(plan: LoadPlan, facts: InitialWeightsFacts) -> None:
    """Say loudly what the run begins with, and what of it is random."""
    place = f"{facts.uri}/{facts.folder}".rstrip("/")
    logger.warning("step 0 begins with the weights of %s (%s): %s", place, facts.verdict, plan.described)
    if plan.fresh:
        more = f" and {len(plan.fresh) - _LOGGED_NAMES} more" if len(plan.fresh) > _LOGGED_NAMES else ""
        names = ", ".join(plan.fresh[:_LOGGED_NAMES])
        logger.warning("%d tensors start from random values: %s%s", len(plan.fresh), names, more)


def fill_module(
    module: torch.nn.Module, store: Store, tensors: Mapping[str, AnyTensor], world: World, given: InitialWeightsDocument
) -> None:
    """Give every rank the module's state as rank 0 has it after reading `tensors`; the other ranks pass none."""
    state = module.state_dict()
    read = _read(store, {name: tensors[name] for name in state if name in tensors}, given)
    for name, target in state.items():
        if name in tensors:
            _, raw = next(read)
            try:
                fill_parameter(target, raw, tensors[name])
            except UnusableTensorError as error:
                raise does_not_fit(_shown(given), f"{name} {error}") from error
        world.share(target)


def _read(store: Store, tensors: Mapping[str, AnyTensor], given: InitialWeightsDocument) -> Iterator[tuple[str, bytes]]:
    try:
        yield from read_ahead(store, tensors)
    except HeaderError as error:
        raise does_not_fit(_shown(given), str(error)) from error
    except (NotFound, ObjectChanged) as error:
        raise does_not_fit(_shown(given), f"it changed while it was read: {error}") from error


def _check_coverage(plan: LoadPlan, wanted: Wanted, given: InitialWeightsDocument) -> None:
    """Every parameter has exactly one origin: no tensor is random that nobody was told of."""
    names = set(wanted.architecture)
    covered, fresh = set(plan.weights), set(plan.fresh)
    stray = plan.ema is not None and set(plan.ema) != covered
    if covered | fresh != names or covered & fresh or stray:
        unclear = sorted((names ^ (covered | fresh)) | (covered & fresh))
        raise does_not_fit(_shown(given), f"it is not clear where {unclear[:3]} come from (a bug in the load plan)")
    if fresh and not given.allow_partial:
        raise does_not_fit(_shown(given), f"it lacks {len(fresh)} tensors, the first is {plan.fresh[0]}")


def _shown(given: InitialWeightsDocument) -> str:
    return f"{given.uri}/{given.folder}".rstrip("/")
