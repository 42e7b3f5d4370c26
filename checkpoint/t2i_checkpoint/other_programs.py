"""Reading a checkpoint that another program wrote: weights first, then what else fits into the budget.

Diffusers' scripts, plain Accelerate, Lightning, FSDP and DCP, single files. Their optimizer state is looked at to say
whether it would fit; nothing here is ever resumed by us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.facts import OptimizerFacts, OtherProgram
from t2i_checkpoint.header_length import expected_header_bytes
from t2i_checkpoint.headers.distributed import read_distributed
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.safetensors import read_header
from t2i_checkpoint.headers.sharded import read_sharded_tensors
from t2i_checkpoint.headers.torch_zip import read_torch_zip
from t2i_checkpoint.reading_faults import FaultError, naming
from t2i_checkpoint.state_dicts import SavedState, saved_state, saved_state_of_names, split_average, under_names_of
from t2i_checkpoint.torch_optimizer import optimizer_facts
from t2i_checkpoint.weights_files import CheckpointFormat, FolderParts, WeightsFile, folder_parts

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.discovery import Candidate
    from t2i_checkpoint.header_memory import HeaderMemory
    from t2i_checkpoint.metered_reads import MeteredReads
    from t2i_checkpoint.tensors import TensorTable

_OPTIMIZER_TAIL_READS = 2  # of a torch zip: its directory, its pickle
_MEMBERS_OF_A_PARAMETER = 3  # two moments and a step counter
_SHOWN = 5
_SHARD = re.compile(r"-\d{5}-of-(?!00001)\d{5}\.(?:safetensors|bin)$")  # of transformers, Diffusers, Accelerate
# DeepSpeed ZeRO-3; FSDP 1 with LOCAL_STATE_DICT below Accelerate.
_PARTITION = re.compile(r"zero_pp_rank_\d+_mp_rank_\d+_model_states\.pt$|pytorch_model_fsdp(?:_\d+)?_rank\d+\.bin$")
_JOIN = "Join them with the program that wrote them (DeepSpeed: zero_to_fp32.py, which lies beside them)"
_CONVERT = (
    "its tensors are spread over the files of several ranks: convert it with "
    "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch <folder> <file.pt>`"
)


@dataclass(frozen=True)
class OtherContents:
    """Tables of weights and EMA (both by the weights' names), and what else lies there."""

    weights: TensorTable
    ema: TensorTable | None
    weights_path: str
    step: int | None
    program: OtherProgram
    average_path: str | None = None
    not_loadable: str | None = None


def read_other(
    reads: MeteredReads, candidate: Candidate, wanted: Architecture, memory: HeaderMemory | None
) -> OtherContents:
    """Read a foreign checkpoint; without `memory` also an EMA file beside the weights, for where its tensors lie.

    Raises FaultError, HeaderError or StoreError where the weights cannot be read.
    """
    parts = folder_parts(candidate.objects)
    if (fault := _weights_fault(parts.weights, len(candidate.objects))) is not None:
        raise fault
    path = parts.weights.path or ""
    guess = expected_header_bytes(wanted)
    state = _read(reads, candidate, parts.weights, guess, memory)
    if not state.weights:
        detail = f"{path} holds no state dict; save `model.state_dict()` rather than the model itself"
        raise FaultError(VerdictKind.UNREADABLE, "NoStateDict", detail)
    ema = state.ema
    if memory is None and parts.average is not None:
        ema = under_names_of(state.weights, _read(reads, candidate, parts.average, guess, memory).weights)
    optimizer = state.optimizer
    if optimizer is None and (memory is None or memory.looks_at_optimizers):
        optimizer = _optimizer(reads, candidate, parts, wanted)
    distributed = parts.weights.format is CheckpointFormat.DISTRIBUTED
    return OtherContents(
        state.weights,
        ema,
        path,
        state.step,
        OtherProgram(optimizer, state.holds + parts.resume_state),
        None if parts.average is None else parts.average.path,
        _CONVERT if distributed else None,
    )


def _read(
    reads: MeteredReads, candidate: Candidate, file: WeightsFile, guess: int, memory: HeaderMemory | None
) -> SavedState:
    if file.path is None:
        return SavedState({})
    info = candidate.objects[file.path]
    with naming(file.path):
        if not info.size:
            raise HeaderError(HeaderFault.HEADER_TRUNCATED, "a file of no bytes")
        by_key = {item.key: item for item in candidate.objects.values()}
        match file.format:
            case CheckpointFormat.PICKLE:
                remembered = None if memory is None else memory.tree
                tree = read_torch_zip(reads.as_store, info, expected_bytes=guess, remembered=remembered)
                return saved_state(tree)
            case CheckpointFormat.DISTRIBUTED:
                return saved_state_of_names(read_distributed(reads.as_store, info, by_key))
            case CheckpointFormat.SHARDED | CheckpointFormat.SHARDED_PICKLE:
                table: TensorTable = read_sharded_tensors(reads.as_store, info, by_key, expected_bytes=guess)
            case _ if memory is not None:
                table = memory.read_header(reads, info, expected_bytes=guess).tensors
            case _:
                table = read_header(reads.as_store, info, expected_bytes=guess).tensors
    weights, ema = split_average(table)
    return SavedState(weights, ema)


def _optimizer(
    reads: MeteredReads, candidate: Candidate, parts: FolderParts, wanted: Architecture
) -> OptimizerFacts | None:
    """Look at the optimizer's file where the budget allows; one that cannot be read is only not described."""
    if parts.optimizer is None:
        return None
    guess = expected_header_bytes(wanted, _MEMBERS_OF_A_PARAMETER)
    if not reads.affords(guess, _OPTIMIZER_TAIL_READS):
        return None
    try:
        return optimizer_facts(read_torch_zip(reads.as_store, candidate.objects[parts.optimizer], expected_bytes=guess))
    except HeaderError as error:
        return OptimizerFacts(f"an optimizer state that cannot be read ({error.detail})")


def _weights_fault(weights: WeightsFile, objects: int) -> FaultError | None:
    """Say why the chosen file (or none, or several) cannot be read as the weights, or None."""
    paths = weights.paths if weights.path is None else (weights.path,)
    named = ", ".join(paths[:_SHOWN])
    if not paths:
        return FaultError(VerdictKind.INCOMPLETE, "NoWeights", f"{objects} objects, none of them weights")
    if any(_PARTITION.search(path) for path in paths):
        detail = f"{named}: every tensor is parted among the ranks. {_JOIN}"
        return FaultError(VerdictKind.UNREADABLE, "WeightsPartitioned", detail)
    if all(_SHARD.search(path) for path in paths):
        detail = f"{named}: parts of one model, without the index that lists them (….index.json)"
        return FaultError(VerdictKind.INCOMPLETE, "ShardIndexMissing", detail)
    if weights.path is None:
        detail = f"several files may be the weights: {named}; keep one, or name it unet/diffusion_pytorch_model"
        return FaultError(VerdictKind.UNREADABLE, "WeightsAmbiguous", detail)
    return None
