"""What a stored model *is*, told from its names and shapes alone: a short phrase, and a config where one follows. Pure.

A config is given only where deriving names and shapes from it gives exactly the stored ones. What leaves no trace in
shapes (number of heads, groups, activation) takes the published models' values, where they fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.rebuild_other import describe_adapter, describe_custom_unet, describe_other
from t2i_checkpoint.rebuild_unet import unet_config
from t2i_checkpoint.recognise import ModelFamily, recognise
from t2i_checkpoint.renaming import translate
from t2i_checkpoint.renaming_ldm import diffusers_names
from t2i_checkpoint.unet import UnsupportedConfigError, unet_architecture_from_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

_INPAINTING, _DEPTH, _EDITING = 9, 5, 8
_VARIANTS = {_INPAINTING: " inpainting", _DEPTH: " depth", _EDITING: " image-editing"}
_SD_WIDTHS, _XL_WIDTHS, _REFINER_WIDTHS = [320, 640, 1280, 1280], [320, 640, 1280], [384, 768, 1536, 1536]
_SD_CONTEXTS = {768, 1024}
_BILLION, _MILLION, _THOUSAND = 1e9, 1e6, 1e3


@dataclass(frozen=True)
class RebuiltModel:
    """A model rebuilt from shapes.

    `described` is one phrase ("SD 1.x UNet, 860 M, 4 channels in, cross-attention 768"); `config` has the keys of
    Diffusers' `UNet2DConditionModel`, None where no such config gives these names and shapes.
    """

    described: str
    config: Mapping[str, Any] | None = None


def rebuild(architecture: Architecture) -> RebuiltModel | None:
    """Return what the parameters are, after known prefixes; None where nothing is telling."""
    nothing_wanted = Architecture(())
    model = translate(architecture, nothing_wanted).apply(architecture)
    match recognise(model):
        case ModelFamily.DIFFUSERS_UNET:
            return _rebuilt(model, "")
        case ModelFamily.LDM_UNET:
            return _rebuilt(_without_ldm_names(model), " in LDM naming")
        case ModelFamily.CUSTOM_UNET:
            return RebuiltModel(f"home-made UNet, {describe_custom_unet(model)}, {size_text(model)}")
        case ModelFamily.ADAPTER:
            return RebuiltModel(f"{describe_adapter(model)}, {size_text(model)}")
        case _:
            described = describe_other(model)
            return None if described is None else RebuiltModel(f"{described}, {size_text(model)}")


def published_name(config: Mapping[str, Any]) -> str | None:
    """Return whose shape a UNet's config has: `SD 1.x`, `SD 2.x`, `SDXL`, `SDXL refiner`, or None."""
    known = {
        (768, *_SD_WIDTHS): "SD 1.x",
        (1024, *_SD_WIDTHS): "SD 2.x",
        (2048, *_XL_WIDTHS): "SDXL",
        (1280, *_REFINER_WIDTHS): "SDXL refiner",
    }
    context = config.get("cross_attention_dim")
    return known.get((context, *config["block_out_channels"])) if isinstance(context, int) else None


def size_text(architecture: Architecture) -> str:
    """Return the number of parameters as people say it: `860 M`, `2.57 B`, `12.3 M`, `1.2 k`, `96 parameters`."""
    count = architecture.count
    if count >= _BILLION:
        return f"{count / _BILLION:.2f} B"
    if count >= _MILLION:
        return f"{count / _MILLION:.{0 if count >= 100 * _MILLION else 1}f} M"  # 860 M, 12.3 M
    return f"{count / _THOUSAND:.1f} k" if count >= _THOUSAND else f"{count} parameters"


def channels_in(channels: int) -> str:
    """Return `4 channels in`."""
    return f"{channels} channel{'' if channels == 1 else 's'} in"


def _without_ldm_names(model: Architecture) -> Architecture:
    # The one name that shapes do not settle: SD 2.1 unCLIP embeds a class, SDXL (2048) and its refiner (1280) do not.
    keys = (p.shape for name, p in model.parameters.items() if name.endswith(".attn2.to_k.weight"))
    context = next((shape[1] for shape in keys if len(shape) > 1), None)
    classes = ("class_embedding.linear_1.weight",) if context in _SD_CONTEXTS else ()
    names = diffusers_names(model, classes)
    return Architecture((names.get(name, name), p) for name, p in model.parameters.items())


def _rebuilt(model: Architecture, naming: str) -> RebuiltModel:
    config = unet_config(model)
    if config is None:
        return RebuiltModel(f"part of a UNet{naming}, {size_text(model)}, {len(model)} tensors")
    described = f"{_unet_phrase(config, naming)}, {size_text(model)}, {channels_in(config['in_channels'])}"
    context = config.get("cross_attention_dim")
    if context is not None:
        described += f", cross-attention {context}"
    return RebuiltModel(described, config if _gives(config, model) else None)


def _unet_phrase(config: Mapping[str, Any], naming: str) -> str:
    published = published_name(config)
    if published is not None:
        return f"{published}{_VARIANTS.get(config['in_channels'], '')} UNet{naming}"
    widths = config["block_out_channels"]
    span = f"{min(widths)}-{max(widths)}" if min(widths) != max(widths) else str(widths[0])
    levels = f"{len(widths)} level{'s' if len(widths) > 1 else ''}"
    return f"{'UNet' if naming else 'Diffusers UNet'}{naming}, {levels} of {span} channels"


def _gives(config: Mapping[str, Any], model: Architecture) -> bool:
    try:
        return unet_architecture_from_mapping(config).diff(model).is_empty
    except UnsupportedConfigError:
        return False
