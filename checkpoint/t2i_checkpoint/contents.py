"""One candidate to `Contents`: what lies there and where, in a few ranged reads; every fault is caught and named.

The two kinds of layouts are read in `own_layout.py` and `other_programs.py`; this module is the boundary that turns
whatever they raise into INCOMPLETE or UNREADABLE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.damage import refuse_damaged
from t2i_checkpoint.facts import Fault, OtherProgram, ResumeState, Stored
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.layout import RETIRED
from t2i_checkpoint.manifest import Manifest, ManifestError
from t2i_checkpoint.metered_reads import MeteredReads
from t2i_checkpoint.other_programs import read_other
from t2i_checkpoint.own_layout import committed_manifest, read_own
from t2i_checkpoint.reading_faults import FaultError, store_fault
from t2i_checkpoint.store import StoreError
from t2i_checkpoint.tensors import architecture_of_table
from t2i_checkpoint.weights_files import CheckpointFormat, find_weights

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.discovery import Candidate
    from t2i_checkpoint.header_memory import HeaderMemory
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.tensors import TensorTable


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds, each tensor with its place; `fault` instead where it could not be read.

    `weights_path` is the file (or index) of the weights inside the folder, `average_path` that of an EMA beside it,
    whose tensors are not always looked up; `ema` has the names of `weights`. `resume` for our own layout, `other` for
    that of other programs.
    """

    format: CheckpointFormat
    weights: TensorTable
    ema: TensorTable | None = None
    weights_path: str | None = None
    average_path: str | None = None
    step: int | None = None
    manifest: Manifest | None = None
    resume: ResumeState | None = None
    other: OtherProgram | None = None
    not_loadable: str | None = None
    fault: Fault | None = None
    reads: int = 0
    bytes_read: int = 0

    @property
    def stored(self) -> Stored:
        """The part that is compared."""
        architecture = architecture_of_table(self.weights) if self.weights else None
        return Stored(architecture, self.resume, self.fault, self.other, self.not_loadable)


def read_contents(
    store: Store, candidate: Candidate, wanted_guess: Architecture, memory: HeaderMemory | None = None
) -> Contents:
    """Read a candidate's headers; `wanted_guess` tells how long they probably are. Never raises on bad contents.

    At most three ranged reads and 512 KiB, except for shards and for headers longer than was guessed. `memory` is for
    verdicts, which ask what there is; without it also what a load plan needs is read: where exactly each tensor lies,
    those of an EMA beside the weights too.
    """
    metered = MeteredReads(store)
    own = candidate.folder.is_own
    kind = CheckpointFormat.T2I if own else find_weights(candidate.objects).format
    manifest: Manifest | None = None
    try:
        _refuse_retired(candidate)
        if own:
            manifest = committed_manifest(metered, candidate)
            refuse_damaged(metered, candidate)
            found = read_own(metered, candidate, manifest, wanted_guess, memory)
            return Contents(
                kind,
                found.weights,
                found.ema,
                found.weights_path,
                step=manifest.step,
                manifest=manifest,
                resume=found.resume,
                reads=metered.reads,
                bytes_read=metered.bytes_read,
            )
        other = read_other(metered, candidate, wanted_guess, memory)
        return Contents(
            kind,
            other.weights,
            other.ema,
            other.weights_path,
            other.average_path,
            step=other.step,
            other=other.program,
            not_loadable=other.not_loadable,
            reads=metered.reads,
            bytes_read=metered.bytes_read,
        )
    except FaultError as error:
        fault = error.fault
    except HeaderError as error:
        kind_of_fault = VerdictKind.INCOMPLETE if error.is_short else VerdictKind.UNREADABLE
        fault = Fault(kind_of_fault, error.fault, error.detail)
    except ManifestError as error:
        fault = Fault(VerdictKind.UNREADABLE, error.reason, error.detail)
    except StoreError as error:
        fault = store_fault(error)
    return Contents(kind, {}, manifest=manifest, fault=fault, reads=metered.reads, bytes_read=metered.bytes_read)


def _refuse_retired(candidate: Candidate) -> None:
    if not candidate.objects:
        raise FaultError(VerdictKind.INCOMPLETE, "NotFound", "nothing lies there")
    if RETIRED in candidate.objects:
        detail = f"{RETIRED} says that retention began to delete it: parts of it may be gone"
        raise FaultError(VerdictKind.INCOMPLETE, "Retired", detail)
