"""A `UNet2DConditionModel` config, checked and spread to one value a block; whatever we cannot derive is refused.

Field names and their defaults are Diffusers 0.42's (`models/unets/unet_2d_condition.py`). A field that we do not know
may change the parameters, so its presence with another value than None is an error, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS = ("", "Attn", "CrossAttn", "SimpleCrossAttn", "Skip", "AttnSkip", "K", "KCrossAttn")
DOWN_BLOCKS = {"ResnetDownsampleBlock2D", *(f"{kind}DownBlock2D" for kind in _KINDS)}
UP_BLOCKS = {"ResnetUpsampleBlock2D", *(f"{kind}UpBlock2D" for kind in _KINDS)}
MID_BLOCKS = {"UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn", "UNetMidBlock2D", None}
_ACTIVATIONS = {"silu", "swish", "mish", "gelu", "relu"}

# Fields that change how the model computes but none of its parameters.
_WITHOUT_PARAMETERS = {
    "sample_size",
    "center_input_sample",
    "flip_sin_to_cos",
    "freq_shift",
    "downsample_padding",
    "mid_block_scale_factor",
    "dropout",
    "norm_eps",
    "upcast_attention",
    "resnet_skip_time_act",
    "resnet_out_scale_factor",
    "addition_embed_type_num_heads",
}
_DEFAULTS: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "only_cross_attention": False,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "reverse_transformer_layers_per_block": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "attention_head_dim": 8,
    "num_attention_heads": None,
    "dual_cross_attention": False,
    "use_linear_projection": False,
    "class_embed_type": None,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "num_class_embeds": None,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "projection_class_embeddings_input_dim": None,
    "attention_type": "default",
    "class_embeddings_concat": False,
    "mid_block_only_cross_attention": None,
    "cross_attention_norm": None,
}
_CHOICES: dict[str, set[Any]] = {
    "mid_block_type": MID_BLOCKS,
    "act_fn": _ACTIVATIONS,
    "num_attention_heads": {None},  # Diffusers refuses it as well
    "dual_cross_attention": {True, False},
    "class_embed_type": {None, "timestep", "identity", "projection", "simple_projection"},
    "addition_embed_type": {None, "text", "text_time", "text_image", "image", "image_hint"},
    "encoder_hid_dim_type": {None, "text_proj", "text_image_proj", "image_proj"},
    "resnet_time_scale_shift": {"default", "scale_shift"},
    "time_embedding_type": {"positional", "fourier"},
    "time_embedding_act_fn": {None, *_ACTIVATIONS},
    "timestep_post_act": {None, *_ACTIVATIONS},
    "attention_type": {"default", "gated", "gated-text-image"},
    "use_linear_projection": {True, False},
    "class_embeddings_concat": {True, False},
    "mid_block_only_cross_attention": {None, True, False},
    "cross_attention_norm": {None, "layer_norm", "group_norm"},
}
_SIZES = ("in_channels", "out_channels", "conv_in_kernel", "conv_out_kernel")
_OPTIONAL_SIZES = (
    "norm_num_groups",
    "encoder_hid_dim",
    "addition_time_embed_dim",
    "num_class_embeds",
    "time_embedding_dim",
    "time_cond_proj_dim",
    "projection_class_embeddings_input_dim",
)
_CONTEXT_GROUPS = 32  # of cross_attention_norm "group_norm"
_MAX_SIZE = 1_000_000
_MAX_BLOCKS = 16
_MAX_LAYERS = 64


class UnsupportedConfigError(ValueError):
    """A config field's value that the names and shapes cannot be derived for; names field, value and way out."""

    def __init__(self, field: str, value: object, why: str) -> None:
        super().__init__(f"unet.{field} = {str(value)[:120]}: {why}")
        self.field = field
        self.value = value


@dataclass(frozen=True)
class UNetOptions:
    """The options that decide names and shapes; per-block tuples run from the outermost block inwards."""

    values: Mapping[str, Any]
    down_blocks: tuple[str, ...]
    up_blocks: tuple[str, ...]
    channels: tuple[int, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    cross_attention: tuple[int, ...]
    only_cross_attention: tuple[bool, ...]
    depths: tuple[int | tuple[int, ...], ...]
    up_depths: tuple[int | tuple[int, ...], ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> UNetOptions:
        """Check a config in Diffusers' snake_case names; raises UnsupportedConfigError."""
        values = _known(config)
        channels = _sizes("block_out_channels", values["block_out_channels"])
        blocks = len(channels)
        if not 1 <= blocks <= _MAX_BLOCKS:
            raise UnsupportedConfigError("block_out_channels", list(channels), f"1 to {_MAX_BLOCKS} blocks")
        depths = _depths("transformer_layers_per_block", values["transformer_layers_per_block"], blocks)
        return cls(
            values=values,
            down_blocks=_block_types("down_block_types", values["down_block_types"], blocks, DOWN_BLOCKS),
            up_blocks=_block_types("up_block_types", values["up_block_types"], blocks, UP_BLOCKS),
            channels=channels,
            layers=_per_block("layers_per_block", values["layers_per_block"], blocks, limit=_MAX_LAYERS),
            heads=_per_block("attention_head_dim", values["attention_head_dim"], blocks),
            cross_attention=_per_block("cross_attention_dim", values["cross_attention_dim"], blocks),
            only_cross_attention=_flags("only_cross_attention", values["only_cross_attention"], blocks),
            depths=depths,
            up_depths=_up_depths(values["reverse_transformer_layers_per_block"], depths),
        )

    @property
    def groups(self) -> int | None:
        """Groups of group normalization; None for models of k-diffusion's blocks alone."""
        groups: int | None = self.values["norm_num_groups"]
        return groups

    @property
    def scale_and_shift(self) -> bool:
        """Whether the time embedding scales and shifts a residual layer, or is only added."""
        return bool(self.values["resnet_time_scale_shift"] == "scale_shift")

    @property
    def mid_only_cross_attention(self) -> bool:
        """As Diffusers: the middle's own option, else the one of all blocks if that is a single value."""
        own, common = self.values["mid_block_only_cross_attention"], self.values["only_cross_attention"]
        return bool(common is True if own is None else own)

    def context_norm(self, width: int, context: int) -> int | None:
        """Return the channels that `cross_attention_norm` normalizes, None without."""
        kind = self.values["cross_attention_norm"]
        if kind == "group_norm" and context % _CONTEXT_GROUPS:
            raise UnsupportedConfigError("cross_attention_norm", kind, f"{context} channels are not 32 equal groups")
        return {None: None, "layer_norm": width, "group_norm": context}[kind]

    def size(self, field: str) -> int:
        """Return an integer option that must be set."""
        value = self.values[field]
        if value is None:
            raise UnsupportedConfigError(field, None, "the other options need it to be set")
        return int(value)

    def single_cross_attention_dim(self, needed_by: str) -> int:
        """Return `cross_attention_dim` where a projection asks for one number."""
        value = self.values["cross_attention_dim"]
        if not _is_size(value):
            raise UnsupportedConfigError("cross_attention_dim", value, f"{needed_by} needs a single number")
        return int(value)


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(_DEFAULTS)
    for field, value in config.items():
        if field in _DEFAULTS:
            values[field] = value
        elif field not in _WITHOUT_PARAMETERS and not field.startswith("_") and value is not None:
            raise UnsupportedConfigError(field, value, "unknown field; it may change the model's parameters")
    for field, choices in _CHOICES.items():
        value = values[field]
        if isinstance(value, list | dict) or value not in choices:
            allowed = ", ".join(sorted(map(str, choices)))
            raise UnsupportedConfigError(field, value, f"not supported; supported: {allowed}")
    for field in _SIZES:
        if not _is_size(values[field]):
            raise UnsupportedConfigError(field, values[field], f"a whole number from 1 to {_MAX_SIZE}")
    for field in _OPTIONAL_SIZES:
        if values[field] is not None and not _is_size(values[field]):
            raise UnsupportedConfigError(field, values[field], f"absent, or a whole number from 1 to {_MAX_SIZE}")
    return values


def _is_size(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_SIZE


def _sizes(field: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(_is_size(item) for item in value):
        raise UnsupportedConfigError(field, value, f"a list of whole numbers from 1 to {_MAX_SIZE}")
    return tuple(value)


def _per_block(field: str, value: Any, blocks: int, *, limit: int = _MAX_SIZE) -> tuple[int, ...]:
    sizes = (value,) * blocks if _is_size(value) else _sizes(field, value)
    if len(sizes) != blocks or max(sizes) > limit:
        raise UnsupportedConfigError(field, value, f"one number up to {limit}, or one for each of {blocks} blocks")
    return sizes


def _flags(field: str, value: Any, blocks: int) -> tuple[bool, ...]:
    flags = (value,) * blocks if isinstance(value, bool) else value
    if not isinstance(flags, list | tuple) or len(flags) != blocks or not all(isinstance(f, bool) for f in flags):
        raise UnsupportedConfigError(field, value, f"true or false, or one for each of {blocks} blocks")
    return tuple(flags)


def _block_types(field: str, value: Any, blocks: int, supported: set[str]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) != blocks:
        raise UnsupportedConfigError(field, value, f"one name for each of the {blocks} block_out_channels")
    # Diffusers still reads the names of its first releases.
    names = tuple(str(name).removeprefix("UNetRes") for name in value)
    for name in names:
        if name not in supported:
            raise UnsupportedConfigError(field, name, f"not supported; supported: {', '.join(sorted(supported))}")
    return names


def _depths(field: str, value: Any, blocks: int) -> tuple[int | tuple[int, ...], ...]:
    depths = (value,) * blocks if type(value) is int else value
    if not isinstance(depths, list | tuple) or len(depths) != blocks:
        raise UnsupportedConfigError(field, value, f"one number, or one for each of {blocks} blocks")
    checked: list[int | tuple[int, ...]] = []
    for depth in depths:
        inner = list(depth) if isinstance(depth, list | tuple) else [depth]
        if not inner or not all(type(d) is int and 0 <= d <= _MAX_LAYERS for d in inner):
            raise UnsupportedConfigError(field, value, f"whole numbers from 0 to {_MAX_LAYERS}")
        checked.append(tuple(inner) if isinstance(depth, list | tuple) else depth)
    return tuple(checked)


def _up_depths(reverse: Any, depths: tuple[int | tuple[int, ...], ...]) -> tuple[int | tuple[int, ...], ...]:
    field = "reverse_transformer_layers_per_block"
    if reverse is not None:
        return _depths(field, reverse, len(depths))
    if any(isinstance(depth, tuple) for depth in depths):
        raise UnsupportedConfigError(field, None, "must be set when transformer_layers_per_block is nested")
    return tuple(reversed(depths))
