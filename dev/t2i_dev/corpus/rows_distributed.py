"""Sharded checkpoints: torch.distributed (DCP) of one and two processes, FSDP, DeepSpeed, and what is missing there."""

import socket
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, cast

import torch
import torch.distributed as dist
from torch.distributed import checkpoint as dcp

from t2i_api.status import VerdictKind
from t2i_dev.corpus.models import seeded, stepped_adamw, unet
from t2i_dev.corpus.row import Row, Then
from t2i_dev.story.custom_unet import CustomUNet

_RANKS: Final = 2
_DCP = cast("Any", dcp)  # it does not name its exports


def _save(state: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _DCP.save(state, checkpoint_id=str(folder), no_dist=True)


def _plain(root: Path) -> None:
    _save(dict(unet("dcp").state_dict()), root / "checkpoint-500")


def _with_optimizer(root: Path) -> None:
    model = unet("dcp-optimizer")
    optimizer = stepped_adamw(model)
    moments = {
        f"{name}.{moment}": optimizer.state[parameter][moment]
        for name, parameter in model.named_parameters()
        for moment in ("exp_avg", "exp_avg_sq")
    }
    _save({"model": model.state_dict(), "optimizer": moments, "step": 500}, root / "checkpoints" / "step_500")


def _old_unet(root: Path) -> None:
    seeded("story")
    _save({"model": CustomUNet().state_dict()}, root / "checkpoint-500")


def _missing_file(root: Path) -> None:
    _plain(root)
    next((root / "checkpoint-500").glob("*.distcp")).unlink()


def _without_metadata(root: Path) -> None:
    _plain(root)
    (root / "checkpoint-500" / ".metadata").unlink()


def _fully_sharded(root: Path) -> None:
    """As Accelerate's FSDP plugin saves with SHARDED_STATE_DICT, by two processes with FSDP 2."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = get_context("fork")  # torch is loaded already: seconds that a fresh interpreter would take again
    workers = [context.Process(target=_rank, args=(rank, port, root / "checkpoint-500")) for rank in range(_RANKS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"a rank of the sharded save ended with status {worker.exitcode}")


def _rank(rank: int, port: int, folder: Path) -> None:
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict  # noqa: PLC0415
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415

    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=_RANKS)
    mesh = dist.device_mesh.init_device_mesh("cpu", (_RANKS,))
    model = unet("fsdp")
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    folder.mkdir(parents=True, exist_ok=True)
    _DCP.save({"model": model.state_dict()}, checkpoint_id=str(folder / "pytorch_model_fsdp_0"))
    states = get_optimizer_state_dict(model, optimizer)
    _DCP.save({"optimizer": states}, checkpoint_id=str(folder / "optimizer_0"))
    dist.destroy_process_group()


def _deepspeed(root: Path, prefix: str, state: dict[str, torch.Tensor]) -> None:
    """What DeepSpeed below Accelerate leaves of two ranks, by its own file names (it is not installed here)."""
    folder = root / "checkpoint-500" / "pytorch_model"
    folder.mkdir(parents=True)
    torch.save({"module": state, "global_steps": 500}, folder / f"{prefix}mp_rank_00_model_states.pt")
    for rank in range(_RANKS):
        torch.save({"optimizer_state_dict": {}}, folder / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (root / "checkpoint-500" / "latest").write_text("pytorch_model")


def _local_state(root: Path) -> None:
    """By the file names of Accelerate's FSDP plugin; torch itself no longer writes them on a CPU."""
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    flat = torch.cat([each.reshape(-1) for each in unet("local-state").state_dict().values()])
    for rank, piece in enumerate(flat.chunk(_RANKS)):
        torch.save({"_flat_param": piece.clone()}, folder / f"pytorch_model_fsdp_rank{rank}.bin")


def _zero_2(root: Path) -> None:
    _deepspeed(root, "", unet("zero-2").state_dict())


def _zero_3(root: Path) -> None:
    """Every parameter is a placeholder: the values are parted among the ranks' optimizer states."""
    _deepspeed(root, "zero_pp_rank_0_", {name: torch.empty(0) for name in unet("zero-3").state_dict()})


_K = VerdictKind
_CONVERT = "NotLoadable"  # names and shapes fit; its tensors lie in pieces that torch has to put together
ROWS: Final = (
    Row("dcp", "torch.distributed.checkpoint.save of a state_dict",
        _plain, _K.INFERENCE_ONLY, _CONVERT, Then.STOP),
    Row("dcp-with-optimizer", "model, optimizer and step in one, in torchtitan's folder name",
        _with_optimizer, _K.INFERENCE_ONLY, _CONVERT, Then.STOP),
    Row("fsdp-two-ranks", "FSDP 2 over two processes, in the folders of Accelerate's plugin",
        _fully_sharded, _K.INFERENCE_ONLY, _CONVERT, Then.STOP),
    Row("dcp-old-unet", "the story's UNet, saved sharded",
        _old_unet, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE, says=("home-made UNet",)),
    Row("dcp-missing-file", "the metadata names a file that is not there",
        _missing_file, _K.INCOMPLETE, "ShardMissing", Then.FRESH),
    Row("dcp-without-metadata", "killed before the metadata, which is written last",
        _without_metadata, _K.INCOMPLETE, "NoWeights", Then.FRESH),
    Row("deepspeed-zero-2", "DeepSpeed parts the optimizer, the model is one torch file",
        _zero_2, _K.INFERENCE_ONLY, "ResumeStateOfAnotherProgram", Then.INITIAL_WEIGHTS),
    Row("fsdp-local-state", "FSDP 1 with LOCAL_STATE_DICT: a flat piece a rank, in a file of its own",
        _local_state, _K.UNREADABLE, "WeightsPartitioned", Then.STOP, says=("parted among the ranks",)),
    Row("deepspeed-zero-3", "DeepSpeed parts the model too: empty tensors are no other model",
        _zero_3, _K.UNREADABLE, "WeightsPartitioned", Then.STOP, says=("zero_to_fp32.py",)),
)  # fmt: skip
