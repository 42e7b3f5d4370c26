"""Which scenarios meet which faults. A suite is one scenario and its rows; tests and the report run the same ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.s3 import S3Limits
from t2i_dev.crash.archiving import MoveScenario, ReferenceScenario
from t2i_dev.crash.checkpoints import of_the_old_unet, tensors
from t2i_dev.crash.laboratory import Laboratory
from t2i_dev.crash.matrix import ONE_EFFECT_A_LIFE, ROWS
from t2i_dev.crash.restoring import OvertakenScenario, RestoreScenario
from t2i_dev.crash.scenario import Scenario
from t2i_dev.faults import Fault

_MIB = 1024 * 1024
# Somebody else writes: a matter of the code that deletes what it has judged, not of a save or a pointer.
_MEDDLING = (Fault.INTRUDED, Fault.OVERWRITTEN, Fault.CORRUPTED)
_ALL = tuple(row.name for row in ROWS if row.fault not in _MEDDLING)
# Where the order of side effects differs from run to run, or one run is long: the faults that cut or stop a client,
# and those that only a multipart upload meets.
_CUTS = (
    *(Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LOST_ANSWER, Fault.OUTAGE),
    *(Fault.STOPPED_BEFORE, Fault.STOPPED_AFTER, ONE_EFFECT_A_LIFE),
)
_MULTIPART = (
    *_CUTS,
    Fault.ERROR_IN_OK,
    Fault.INTERNAL_ERROR,
    Fault.PRECONDITION,
    Fault.TWICE,
    Fault.TIMEOUT_AFTER,
    Fault.CORRUPTED,
)
# A restore's upload is made before it can be noted: a life of that one effect leaves nothing to go on with.
_RESTORED_IN_PARTS = tuple(row for row in _MULTIPART if row not in {Fault.CORRUPTED, ONE_EFFECT_A_LIFE})


@dataclass(frozen=True)
class Suite:
    """A scenario, made when it is first wanted, and the rows that it meets."""

    make: Callable[[Laboratory, Path], Scenario]
    rows: tuple[str, ...] = _ALL


def _save(_laboratory: Laboratory, scratch: Path) -> Scenario:
    from t2i_dev.crash.saving import SaveScenario  # noqa: PLC0415  # torch: seconds that other suites do not pay

    return SaveScenario(scratch)


def _parallel(_laboratory: Laboratory, _scratch: Path) -> Scenario:
    return MoveScenario("archive (Move, 8 at once)", "the same with eight requests under way", concurrency=8)


def _multipart(_laboratory: Laboratory, _scratch: Path) -> Scenario:
    big = Architecture.from_shapes({"time_embed.0.weight": (1250, 1250), "out.2.weight": (3, 4, 3, 3)})
    return MoveScenario(
        "archive (Move, multipart)",
        "a checkpoint with an object of 6.3 MB is moved in parts of 5 MiB",
        limits=S3Limits(multipart_copy_above=5 * _MIB, copy_part_size=5 * _MIB),
        checkpoints=(of_the_old_unet(5000, tensors(big)),),
    )


def _restore(laboratory: Laboratory, _scratch: Path) -> Scenario:
    moved = MoveScenario()
    return RestoreScenario(laboratory.reference(moved).left, moved.originals)


def _restore_in_parts(laboratory: Laboratory, scratch: Path) -> Scenario:
    moved = _multipart(laboratory, scratch)
    originals = {key: content for key, content in moved.start.items() if moved.may_change(key)}
    return RestoreScenario(
        laboratory.reference(moved).left,
        originals,
        "restore (multipart)",
        "the object of 6.3 MB comes back in parts",
        limits=S3Limits(create_by_put_up_to=_MIB, copy_part_size=5 * _MIB),
    )


def _restore_in_place(laboratory: Laboratory, _scratch: Path) -> Scenario:
    return RestoreScenario(
        laboratory.reference(ReferenceScenario()).left,
        {},
        "restore (Reference)",
        "two checkpoints that were archived where they lie are judged again",
    )


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "save": Suite(_save, tuple(row for row in _ALL if row != ONE_EFFECT_A_LIFE)),  # every attempt begins anew
        "archive-move": Suite(lambda _laboratory, _scratch: MoveScenario(), (*_ALL, *_MEDDLING)),
        "archive-move-parallel": Suite(_parallel, _CUTS),
        "archive-move-multipart": Suite(_multipart, _MULTIPART),
        "restore": Suite(_restore, (*_ALL, Fault.OVERWRITTEN)),
        "restore-multipart": Suite(_restore_in_parts, _RESTORED_IN_PARTS),
        "restore-overtakes": Suite(
            lambda _laboratory, _scratch: OvertakenScenario(), (Fault.STOPPED_BEFORE, Fault.STOPPED_AFTER)
        ),
        "archive-reference": Suite(lambda _laboratory, _scratch: ReferenceScenario()),
        "restore-reference": Suite(_restore_in_place),
    }
)
