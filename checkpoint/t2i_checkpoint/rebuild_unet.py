"""The config of a Diffusers UNet, read off the names and shapes of its layers. Pure.

Every number is taken from a tensor. What leaves no trace in shapes (number of heads, groups of group norm) is chosen
so that the layers can be built: the published models' values where they fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint.rebuild_layers import Block, Layers, block_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_checkpoint.architecture import Architecture

_USUAL_GROUPS = (32, 16, 8, 4, 2, 1)
_USUAL_HEADS = 8
_HEAD_WIDTH = 64  # SD 2.x and SDXL: as many heads as make each this wide
_TIME_LAYERS = (".time_emb_proj.weight", ".norm1.linear.weight")
_ADDITION_TIME_WIDTH = 256  # SDXL's; shapes show only the sum with the pooled text


def unet_config(architecture: Architecture) -> dict[str, Any] | None:
    """Return the config, in Diffusers' keys, that the names speak for; None where the frame of a UNet is not there.

    It need not give the same model again: deriving it and comparing tells (`rebuild` does).
    """
    layers = Layers(architecture)
    blocks = _blocks(layers, "down_blocks")
    ups = _blocks(layers, "up_blocks")
    first, inputs = layers.axis("conv_in.weight", 0), layers.axis("conv_in.weight", 1)
    outputs, width = layers.axis("conv_out.weight", 0), layers.axis("time_embedding.linear_1.weight", 0)
    if not blocks or len(ups) != len(blocks) or None in {first, inputs, outputs, width}:
        return None
    middle = block_of(layers, "mid_block")
    config: dict[str, Any] = {
        "in_channels": inputs,
        "out_channels": outputs,
        "conv_in_kernel": layers.axis("conv_in.weight", 2),
        "conv_out_kernel": layers.axis("conv_out.weight", 2),
        "block_out_channels": [block.width for block in blocks],
        "layers_per_block": _one_or_list([block.layers for block in blocks]),
        "down_block_types": [block.down_type for block in blocks],
        "up_block_types": [block.up_type for block in ups],
        "mid_block_type": middle.mid_type,
    }
    # The up side runs from the innermost level outwards.
    sides = [[down, up] for down, up in zip(blocks, reversed(ups), strict=True)]
    sides[-1].append(middle)
    config |= _attention(layers, sides, blocks, ups, middle)
    config |= _normalization(layers, [*blocks, middle, *ups])
    config |= _time(layers)
    config |= _conditioning(layers)
    return config


def _blocks(layers: Layers, side: str) -> list[Block]:
    return [block_of(layers, f"{side}.{index}") for index in layers.indices(side)]


# Where a model without cross-attention still shows how wide its context is: name and axis.
_CONTEXT_WIDTHS = (
    ("encoder_hid_proj.weight", 0),
    ("encoder_hid_proj.text_proj.weight", 0),
    ("encoder_hid_proj.norm.weight", 0),
    ("position_net.null_positive_feature", 0),
    ("position_net.null_text_feature", 0),
    ("add_embedding.text_proj.weight", 1),
    ("add_embedding.norm1.weight", 0),
)


def _context_of_conditioning(layers: Layers) -> int | None:
    return next((size for name, axis in _CONTEXT_WIDTHS if (size := layers.axis(name, axis)) is not None), None)


def _attention(
    layers: Layers, sides: Sequence[Sequence[Block]], blocks: Sequence[Block], ups: Sequence[Block], middle: Block
) -> dict[str, Any]:
    with_attention = [block for block in [*blocks, middle, *ups] if block.context]
    contexts = [next((block.context for block in side if block.context), None) for side in sides]
    known = next((context for context in contexts if context), None) or _context_of_conditioning(layers)
    config: dict[str, Any] = {}
    if known is not None:
        config["cross_attention_dim"] = _one_or_list([context or known for context in contexts])
    crossed = [any(block.only_cross for block in side if block is not middle) for side in sides]
    if any(crossed):
        config["only_cross_attention"] = _one_or_list(crossed)
    if middle.only_cross != (isinstance(config.get("only_cross_attention", False), bool) and crossed[0]):
        config["mid_block_only_cross_attention"] = middle.only_cross
    linear = any(block.linear_projection for block in with_attention)
    if linear:
        config["use_linear_projection"] = True
    config["attention_head_dim"] = _one_or_list([_heads(side, linear=linear) for side in sides])
    if any(block.dual for block in with_attention):
        config["dual_cross_attention"] = True
    norm = next((block.cross_norm for block in with_attention if block.cross_norm), None)
    if norm is not None:
        config["cross_attention_norm"] = norm
    return config | _depths(sides, blocks, ups, middle)


def _depths(
    sides: Sequence[Sequence[Block]], blocks: Sequence[Block], ups: Sequence[Block], middle: Block
) -> dict[str, Any]:
    """Blocks without a transformer take the depth of the block on the other side."""
    shared = [next((max(block.depths) for block in side if block.depths), 1) for side in sides]
    if middle.depths:
        shared[-1] = middle.depths[0]
    down = [_one_or_list(block.depths) if block.depths else depth for block, depth in zip(blocks, shared, strict=True)]
    mirrored = list(reversed(shared))
    up = [_one_or_list(block.depths) if block.depths else depth for block, depth in zip(ups, mirrored, strict=True)]
    config: dict[str, Any] = {"transformer_layers_per_block": _one_or_list(down)}
    if any(isinstance(depth, list) for depth in down) or up != list(reversed(down)):
        config["reverse_transformer_layers_per_block"] = up
    return config


def _heads(side: Sequence[Block], *, linear: bool) -> int:
    """Return a number of heads that gives the level's inner width."""
    block = next((each for each in side if each.inner), side[0])
    if linear and block.inner in {block.width, None} and block.width % _HEAD_WIDTH == 0:
        return block.width // _HEAD_WIDTH
    if block.inner is None:
        return _USUAL_HEADS
    usual = [_USUAL_HEADS, *range(1, min(block.width, 4096) + 1)]
    return next((heads for heads in usual if heads * (block.width // heads) == block.inner), _USUAL_HEADS)


def _normalization(layers: Layers, blocks: Sequence[Block]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if layers.axis("conv_norm_out.weight", 0) is None:
        config["norm_num_groups"] = None
    else:
        widths = layers.normalized_widths
        config["norm_num_groups"] = next(groups for groups in _USUAL_GROUPS if all(w % groups == 0 for w in widths))
    if any(block.scale_shift for block in blocks):
        config["resnet_time_scale_shift"] = "scale_shift"
    return config


def _time(layers: Layers) -> dict[str, Any]:
    width = layers.axis("time_embedding.linear_1.weight", 0) or 0
    first = layers.axis("conv_in.weight", 0) or 0
    fourier = layers.axis("time_proj.weight", 0) is not None
    config: dict[str, Any] = {"time_embedding_type": "fourier"} if fourier else {}
    if width != first * (2 if fourier else 4):
        config["time_embedding_dim"] = width
    condition = layers.axis("time_embedding.cond_proj.weight", 1)
    if condition is not None:
        config["time_cond_proj_dim"] = condition
    into_blocks = {layers.axis(name, 1) for name in layers.names if name.endswith(_TIME_LAYERS)}
    if into_blocks == {2 * width}:
        config["class_embeddings_concat"] = True
    return config


def _conditioning(layers: Layers) -> dict[str, Any]:
    return {**_hidden_states(layers), **_classes(layers), **_addition(layers), **_positions(layers)}


def _hidden_states(layers: Layers) -> dict[str, Any]:
    text, image = layers.axis("encoder_hid_proj.text_proj.weight", 1), "encoder_hid_proj.image_embeds.weight"
    if text is not None:
        return {"encoder_hid_dim_type": "text_image_proj", "encoder_hid_dim": text}
    if layers.axis(image, 1) is not None:
        return {"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": layers.axis(image, 1)}
    plain = layers.axis("encoder_hid_proj.weight", 1)
    return {} if plain is None else {"encoder_hid_dim_type": "text_proj", "encoder_hid_dim": plain}


def _classes(layers: Layers) -> dict[str, Any]:
    projected = layers.axis("class_embedding.linear_1.weight", 1)
    if projected is not None:
        if projected == layers.axis("time_embedding.linear_1.weight", 1):
            return {"class_embed_type": "timestep"}
        return {"class_embed_type": "projection", "projection_class_embeddings_input_dim": projected}
    if layers.axis("class_embedding.bias", 0) is not None:
        inputs = layers.axis("class_embedding.weight", 1)
        return {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": inputs}
    classes = layers.axis("class_embedding.weight", 0)
    return {} if classes is None else {"num_class_embeds": classes}


def _addition(layers: Layers) -> dict[str, Any]:
    projected = layers.axis("add_embedding.linear_1.weight", 1)
    if projected is not None:
        return {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _ADDITION_TIME_WIDTH,
            "projection_class_embeddings_input_dim": projected,
        }
    telling = {
        "add_embedding.pool.positional_embedding": "text",
        "add_embedding.text_proj.weight": "text_image",
        "add_embedding.input_hint_block.0.weight": "image_hint",
        "add_embedding.image_proj.weight": "image",
    }
    kind = next((kind for name, kind in telling.items() if layers.axis(name, 0) is not None), None)
    if kind is None:
        return {}
    config: dict[str, Any] = {"addition_embed_type": kind}
    if kind in {"image", "image_hint"}:
        config["encoder_hid_dim"] = layers.axis("add_embedding.image_proj.weight", 1)
    return config


def _positions(layers: Layers) -> dict[str, Any]:
    if layers.axis("position_net.null_positive_feature", 0) is not None:
        return {"attention_type": "gated"}
    if layers.axis("position_net.null_text_feature", 0) is not None:
        return {"attention_type": "gated-text-image"}
    return {}


def _one_or_list(values: Sequence[Any]) -> Any:
    """One value where all agree, as people write configs."""
    return values[0] if values and all(value == values[0] for value in values) else list(values)
