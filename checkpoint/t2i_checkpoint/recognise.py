"""Which family of models a set of parameter names belongs to: the word in a message and in an archive's name. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from t2i_checkpoint.renaming_prefix import top_module

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture

# The residual block of OpenAI's guided-diffusion, which home-made UNets copy.
_OPENAI_BLOCK = {"in_layers", "out_layers", "skip_connection", "emb_layers"}
# What peft, Diffusers and kohya call the tensors of an adapter: LoRA and its kin.
ADAPTER_PARTS = ("lora_", "hada_", "lokr_", "oft_", "boft_", "ia3_", "vera_lambda_", "hra_", "fourierft_", "dora_")
_DIFFUSERS_TOP = {"down_blocks", "up_blocks", "mid_block"}


class ModelFamily(StrEnum):
    """Values are archive labels."""

    DIFFUSERS_UNET = "diffusers-unet"
    CUSTOM_UNET = "custom-unet"
    LDM_UNET = "ldm-unet"
    ADAPTER = "adapter"
    UNKNOWN = "unknown-model"

    @property
    def described(self) -> str:
        """A noun phrase for messages."""
        return _DESCRIBED[self]


_DESCRIBED = {
    ModelFamily.DIFFUSERS_UNET: "a Diffusers UNet",
    ModelFamily.CUSTOM_UNET: "a home-made UNet (in_layers, out_layers, skip_connection)",
    ModelFamily.LDM_UNET: "a UNet in the original Stable Diffusion (LDM) naming",
    ModelFamily.ADAPTER: "an adapter (LoRA or its kin)",
    ModelFamily.UNKNOWN: "another model",
}


def recognise(architecture: Architecture) -> ModelFamily:
    """Return the family; UNKNOWN where nothing is telling."""
    parts: set[str] = set()
    tops: set[str] = set()
    for name in architecture:
        parts.update(name.split("."))
        tops.add(top_module(name))
    if any(part.startswith(ADAPTER_PARTS) or part == "lora" or part.endswith("_lora") for part in parts):
        return ModelFamily.ADAPTER
    if parts & _OPENAI_BLOCK:
        # LDM is the same residual block with transformer blocks that home-made ones lack.
        is_ldm = "transformer_blocks" in parts and "input_blocks" in parts
        return ModelFamily.LDM_UNET if is_ldm else ModelFamily.CUSTOM_UNET
    if tops & _DIFFUSERS_TOP and "resnets" in parts:
        return ModelFamily.DIFFUSERS_UNET
    return ModelFamily.UNKNOWN
