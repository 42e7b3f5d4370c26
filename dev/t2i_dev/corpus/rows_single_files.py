"""Single files in the naming of the original Stable Diffusion code: safetensors and Lightning's `.ckpt`."""

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file

from t2i_api.status import VerdictKind
from t2i_dev.corpus import ldm
from t2i_dev.corpus.ldm_companions import AutoencoderKL, below, clip_text, flat_ema, schedule_buffers
from t2i_dev.corpus.models import seeded
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.rows_torch import save

UNET: Final = "model.diffusion_model."
Tensors = dict[str, torch.Tensor]


def _unet(config: ldm.LdmConfig = ldm.TINY) -> ldm.UNetModel:
    seeded("ldm")
    return ldm.UNetModel(config)


def _companions() -> Tensors:
    """A small VAE and text encoder below the names that single files give them."""
    vae = AutoencoderKL(8, (1, 2), groups=4)
    encoder = clip_text(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=99)
    return below("first_stage_model.", vae) | below("cond_stage_model.transformer.text_model.", encoder)


def _save(tensors: Tensors, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: each.contiguous() for name, each in tensors.items()}, path)


def _whole(root: Path) -> None:
    _save(below(UNET, _unet()) | _companions() | schedule_buffers(), root / "checkpoints" / "step_500.safetensors")


def _whole_ckpt(root: Path) -> None:
    model = _unet()
    state = below(UNET, model) | flat_ema(model) | _companions() | schedule_buffers()
    document = {"state_dict": state, "global_step": 500, "epoch": 1, "pytorch-lightning_version": "1.9.0"}
    save(document, root / "checkpoints" / "epoch=1-step=500.ckpt")


def _in_a_folder(root: Path) -> None:
    _save(below(UNET, _unet()) | _companions(), root / "checkpoint-500" / "model.safetensors")


def _bare(root: Path) -> None:
    _save(dict(_unet().state_dict()), root / "checkpoint-500" / "unet.safetensors")


def _inpainting(root: Path) -> None:
    config = ldm.LdmConfig(9, 3, 8, (1, 2), 1, (0, 1), 1, 16, groups=4)
    _save(below(UNET, _unet(config)) | _companions(), root / "checkpoint-500" / "model.safetensors")


def _other_context(root: Path) -> None:
    config = ldm.LdmConfig(3, 3, 8, (1, 2), 1, (0, 1), 1, 24, groups=4)
    _save(below(UNET, _unet(config)), root / "checkpoint-500" / "model.safetensors")


def _companions_only(root: Path) -> None:
    _save(_companions(), root / "checkpoint-500" / "vae_and_text_encoder.safetensors")


_K = VerdictKind
_LDM = "NamesConvertible"
ROWS: Final = (
    Row("ldm-single-file", "UNet, VAE, text encoder and schedule in one file: the UNet's names convert one-to-one",
        _whole, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS, says=("LDM names", "convertible")),
    Row("ldm-ckpt", "the same as Lightning's .ckpt with an EMA of names without dots",
        _whole_ckpt, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS, says=("LDM names",)),
    Row("ldm-folder", "a single file inside a checkpoint folder", _in_a_folder, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS),
    Row("ldm-bare", "only the UNet, without its prefix", _bare, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS),
    Row("ldm-inpainting", "LDM names and nine channels in: after the renaming one tensor differs",
        _inpainting, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, says=("9 channels in",)),
    Row("ldm-other-context", "LDM names and another text encoder's width",
        _other_context, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, says=("cross-attention 24 against 16",)),
    Row("ldm-companions-only", "a single file without a UNet",
        _companions_only, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE),
)  # fmt: skip
