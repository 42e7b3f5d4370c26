"""Adapters: small files that change a base model and are none."""

from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers
from peft import LoHaConfig, LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from t2i_api.status import VerdictKind
from t2i_dev.corpus.models import seeded, unet
from t2i_dev.corpus.row import Row, Then

_TARGETS: Final = ["to_q", "to_k", "to_v", "to_out.0"]


def _peft(root: Path, config: Any, **options: Any) -> None:
    model = get_peft_model(cast("Any", unet("peft")), config)
    model.save_pretrained(str(root / "checkpoint-500"), **options)


def _lora(root: Path) -> None:
    _peft(root, LoraConfig(r=2, target_modules=_TARGETS))


def _lora_torch(root: Path) -> None:
    _peft(root, LoraConfig(r=2, target_modules=_TARGETS), safe_serialization=False)


def _dora(root: Path) -> None:
    _peft(root, LoraConfig(r=2, target_modules=_TARGETS, use_dora=True))


def _loha(root: Path) -> None:
    _peft(root, LoHaConfig(r=2, target_modules=_TARGETS))


def _diffusers_lora(root: Path) -> None:
    """As `train_text_to_image_lora.py` saves: `pytorch_lora_weights.safetensors`."""
    model = cast("Any", unet("lora"))
    model.add_adapter(LoraConfig(r=2, target_modules=_TARGETS))
    layers = cast("Any", convert_state_dict_to_diffusers)(get_peft_model_state_dict(model))
    StableDiffusionPipeline.save_lora_weights(str(root / "checkpoint-500"), unet_lora_layers=layers)


def _kohya(root: Path) -> None:
    """The names that most published LoRA files have: module paths joined by `_`."""
    seeded("kohya")
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in unet("kohya").named_parameters():
        if name.endswith((".to_q.weight", ".to_k.weight", ".to_v.weight")):
            module = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
            tensors[f"{module}.lora_down.weight"] = torch.randn(2, parameter.shape[1])
            tensors[f"{module}.lora_up.weight"] = torch.zeros(parameter.shape[0], 2)
            tensors[f"{module}.alpha"] = torch.tensor(2.0)
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    save_file(tensors, folder / "style.safetensors")


def _kohya_single_file(root: Path) -> None:
    _kohya(root)
    folder = root / "checkpoint-500"
    (root / "checkpoints").mkdir()
    (folder / "style.safetensors").rename(root / "checkpoints" / "step_500.safetensors")
    folder.rmdir()


_K = VerdictKind
ROWS: Final = tuple(
    Row(name, why, build, _K.ADAPTER, "AdapterWeights", Then.STOP, says=("adapter",))
    for name, why, build in (
        ("peft-lora", "peft's save_pretrained", _lora),
        ("peft-lora-bin", "the same as a torch file", _lora_torch),
        ("peft-dora", "LoRA with magnitudes", _dora),
        ("peft-loha", "Hadamard products in place of LoRA's two matrices", _loha),
        ("diffusers-lora", "a LoRA training script of Diffusers", _diffusers_lora),
        ("kohya-lora", "kohya's names, which most published files have", _kohya),
        ("kohya-lora-single-file", "the same as a file without a folder", _kohya_single_file),
    )
)
