"""Torch files as hand-written loops and Lightning save them: read without running them."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from t2i_api.status import VerdictKind
from t2i_dev.corpus.models import compiled, seeded, stepped_adamw, unet, warmup
from t2i_dev.corpus.row import Row, Then
from t2i_dev.story.custom_unet import CustomUNet

State = dict[str, torch.Tensor]


def save(document: Any, path: Path, **options: Any) -> None:
    """`torch.save` into a folder that may not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(document, path, **options)


def _state(root: Path) -> None:
    save(unet("state").state_dict(), root / "checkpoint-500" / "model.pt")


def _single_file(root: Path) -> None:
    save(unet("single").state_dict(), root / "checkpoints" / "checkpoint-500.pt")


def _training_dictionary(root: Path) -> None:
    model = unet("loop")
    optimizer = stepped_adamw(model)
    document = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": warmup(optimizer).state_dict(),
        "step": 500,
        "config": {"lr": 1e-4},
    }
    save(document, root / "checkpoint-500" / "checkpoint.pt")


def _averages_only(root: Path) -> None:
    save({"ema": unet("ema-only").state_dict(), "step": 500}, root / "checkpoint-500" / "ema.pt")


def _distributed_data_parallel(root: Path) -> None:
    """As `DistributedDataParallel.state_dict()` names it: below `module.`."""
    model = nn.Module()
    model.add_module("module", unet("ddp"))
    save(model.state_dict(), root / "checkpoint-500" / "model.pt")


def _compiled_and_parallel(root: Path) -> None:
    model = nn.Module()
    model.add_module("module", compiled("ddp-compiled"))
    save({"model": model.state_dict()}, root / "checkpoint-500" / "model.pt")


def _channels_last(root: Path) -> None:
    save(unet("strided").to(memory_format=torch.channels_last).state_dict(), root / "checkpoint-500" / "model.pt")


def _flat_storage(root: Path) -> None:
    """Every tensor a view of one buffer, as flattened optimizers and FSDP 1 leave them."""
    state = unet("flat").state_dict()
    buffer = torch.cat([each.reshape(-1) for each in state.values()])
    views: State = {}
    position = 0
    for name, each in state.items():
        views[name] = buffer[position : position + each.numel()].view(each.shape)
        position += each.numel()
    save(views, root / "checkpoint-500" / "model.pt")


def _lightning(root: Path, prefix: str, name: str, *, averages: bool = False, compiled: bool = False) -> None:
    model = unet("lightning")
    optimizer = stepped_adamw(model)
    inner = "_orig_mod." if compiled else ""
    state = {f"{prefix}{inner}{key}": each for key, each in model.state_dict().items()}
    if averages:
        state |= {f"ema.{key}": each for key, each in model.state_dict().items()}
    document = {
        "epoch": 3,
        "global_step": 1200,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4, "completed": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_path": "", "best_model_score": None}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [warmup(optimizer).state_dict()],
        "hparams_name": "kwargs",
        "hyper_parameters": {"learning_rate": 1e-4},
    }
    save(document, root / "checkpoints" / name)


def _lightning_plain(root: Path) -> None:
    _lightning(root, "unet.", "epoch=3-step=1200.ckpt")


def _lightning_compiled(root: Path) -> None:
    _lightning(root, "model.", "last.ckpt", compiled=True)


def _lightning_ema(root: Path) -> None:
    _lightning(root, "unet.", "epoch=3-step=1200.ckpt", averages=True)


def _lightning_old_unet(root: Path) -> None:
    seeded("story")
    state = {f"model.{name}": each for name, each in CustomUNet().state_dict().items()}
    save({"state_dict": state, "global_step": 1200, "epoch": 3}, root / "checkpoints" / "epoch=3-step=1200.ckpt")


def _whole_module(root: Path) -> None:
    save(unet("whole"), root / "checkpoint-500" / "model.pt")


def _legacy(root: Path) -> None:
    path = root / "checkpoint-500" / "model.pt"
    save(unet("legacy").state_dict(), path, _use_new_zipfile_serialization=False)


def _plain_pickle(root: Path) -> None:
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    arrays = {name: each.numpy() for name, each in unet("pickle").state_dict().items()}
    (folder / "model.pt").write_bytes(pickle.dumps(arrays))


def _tar(root: Path) -> None:
    """Torch 0.1's format: a tar of pickles."""
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "model.pt", "w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            content = pickle.dumps({"protocol_version": 1000})
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _truncated(root: Path) -> None:
    _state(root)
    path = root / "checkpoint-500" / "model.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(root: Path) -> None:
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    (folder / "model.pt").write_bytes(b"")


def _two_models(root: Path) -> None:
    """Generator and discriminator side by side, neither named as the one that counts."""
    for name in ("net_a", "net_b"):
        save(unet(name).state_dict(), root / "checkpoint-500" / f"{name}.pt")


_K = VerdictKind
_OTHER = "ResumeStateOfAnotherProgram"
_WEIGHTS = "WeightsWithoutResumeState"
ROWS: Final = (
    Row("torch-state", "torch.save of a state_dict", _state, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("torch-single-file", "the same as a file without a folder",
        _single_file, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("torch-training-dictionary", "model, optimizer, schedule and step in one dictionary",
        _training_dictionary, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("torch-ema-only", "only the averages were kept",
        _averages_only, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("torch-ddp", "DistributedDataParallel's `module.`",
        _distributed_data_parallel, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("torch-ddp-compiled", "`module._orig_mod.`, inside a dictionary",
        _compiled_and_parallel, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("torch-channels-last", "strided tensors: what is read must be rows, not the bytes as they lie",
        _channels_last, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("torch-flat-storage", "every tensor a view of one buffer",
        _flat_storage, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("lightning", "a Lightning dictionary with optimizer states",
        _lightning_plain, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("lightning-compiled", "`last.ckpt`, the UNet below `model._orig_mod.`",
        _lightning_compiled, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("lightning-ema", "weights and averages in one state_dict",
        _lightning_ema, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("lightning-old-unet", "the story's UNet in a Lightning module",
        _lightning_old_unet, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE, says=("home-made UNet",)),
    Row("torch-whole-module", "torch.save of the module itself: its class would have to be imported",
        _whole_module, _K.UNREADABLE, "NoStateDict", Then.STOP, says=("state_dict",)),
    Row("torch-legacy", "torch before 1.6: a chain of pickles",
        _legacy, _K.UNREADABLE, "LegacyPickle", Then.STOP, says=("Convert",)),
    Row("torch-plain-pickle", "a pickle of numpy arrays under a torch name",
        _plain_pickle, _K.UNREADABLE, "LegacyPickle", Then.STOP),
    Row("torch-tar", "torch 0.1: a tar of pickles", _tar, _K.UNREADABLE, "LegacyPickle", Then.STOP),
    Row("torch-truncated", "half an upload: the directory of a zip is at its end",
        _truncated, _K.INCOMPLETE, "HeaderTruncated", Then.FRESH),
    Row("torch-empty", "a file of no bytes", _empty, _K.INCOMPLETE, "HeaderTruncated", Then.FRESH),
    Row("torch-two-models", "two files that may both be the weights",
        _two_models, _K.UNREADABLE, "WeightsAmbiguous", Then.STOP, says=("net_a.pt", "net_b.pt")),
)  # fmt: skip
