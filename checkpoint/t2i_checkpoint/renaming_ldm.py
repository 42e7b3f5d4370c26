"""The original Stable Diffusion (LDM) UNet names in Diffusers' terms, derived from how the two number the same layers.

LDM (CompVis `openaimodel.UNetModel`, after OpenAI's guided-diffusion) counts all steps of one side in one list; a
step is a residual layer with perhaps an attention, or a change of resolution. Diffusers counts levels and, within a
level, residual layers and attentions apart. So the places where the resolution changes tell the levels. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    _Rename = Callable[[str], str | None]

LDM_ANCHOR = "input_blocks.0.0.weight"

_STEP = re.compile(r"(input_blocks|output_blocks)\.(\d{1,4})\.(\d)\.(.+)", re.ASCII)
_MIDDLE = re.compile(r"middle_block\.(\d{1,2})\.(.+)", re.ASCII)
_TOP = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "label_emb": "class_embedding",
}
_LABELS = {"label_emb.0.0": "linear_1", "label_emb.0.2": "linear_2"}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_DOWN, _UP = "op", "conv"  # the convolution of a change of resolution


def diffusers_names(names: Iterable[str], wanted: Container[str] = ()) -> dict[str, str]:
    """Return LDM name -> Diffusers name, for the names that have one.

    `wanted` decides where shapes cannot: `label_emb.0` is Diffusers' `class_embedding` where the wanted model has one,
    else `add_embedding` (SDXL).
    """
    found: dict[str, str] = {}
    label = "class_embedding" if "class_embedding.linear_1.weight" in wanted else "add_embedding"
    sides: dict[str, dict[int, dict[int, dict[str, str]]]] = {"input_blocks": {}, "output_blocks": {}}
    middle: dict[int, dict[str, str]] = {}
    for name in names:
        layer, _, tensor = name.rpartition(".")
        if layer in _TOP:
            found[name] = f"{_TOP[layer]}.{tensor}"
        elif layer in _LABELS:
            found[name] = f"{label}.{_LABELS[layer]}.{tensor}"
        elif step := _STEP.fullmatch(name):
            side, index, member, rest = step.groups()
            sides[side].setdefault(int(index), {}).setdefault(int(member), {})[rest] = name
        elif step := _MIDDLE.fullmatch(name):
            middle.setdefault(int(step[1]), {})[step[2]] = name
    _walk(found, sides["input_blocks"], "down_blocks", "downsamplers")
    _walk(found, sides["output_blocks"], "up_blocks", "upsamplers")
    resnets = attentions = 0
    for _, member in sorted(middle.items()):
        if _is_resnet(member):
            _put(found, member, f"mid_block.resnets.{resnets}", _resnet_layer)
            resnets += 1
        else:
            _put(found, member, f"mid_block.attentions.{attentions}", str)
            attentions += 1
    return found


def _walk(
    found: dict[str, str], steps: Mapping[int, Mapping[int, Mapping[str, str]]], blocks: str, samplers: str
) -> None:
    """Number one side's steps as levels and layers."""
    level = layer = 0
    for _, members in sorted(steps.items()):
        changes_resolution = has_resnet = False
        for _, member in sorted(members.items()):
            if _is_sampler(member):
                _put(found, member, f"{blocks}.{level}.{samplers}.0", lambda rest: f"conv.{rest.rpartition('.')[2]}")
                changes_resolution = True
            elif _is_resnet(member):
                _put(found, member, f"{blocks}.{level}.resnets.{layer}", _resnet_layer)
                has_resnet = True
            elif has_resnet:
                _put(found, member, f"{blocks}.{level}.attentions.{layer}", str)
        if changes_resolution:
            level, layer = level + 1, 0
        elif has_resnet:
            layer += 1


def _is_sampler(member: Mapping[str, str]) -> bool:
    return any(rest.partition(".")[0] in {_DOWN, _UP} for rest in member)


def _is_resnet(member: Mapping[str, str]) -> bool:
    return any(rest.startswith("in_layers.") for rest in member)


def _put(found: dict[str, str], member: Mapping[str, str], prefix: str, rename: _Rename) -> None:
    for rest, name in member.items():
        renamed = rename(rest)
        if renamed is not None:
            found[name] = f"{prefix}.{renamed}"


def _resnet_layer(rest: str) -> str | None:
    layer, _, tensor = rest.rpartition(".")
    return f"{_RESNET[layer]}.{tensor}" if layer in _RESNET else None
