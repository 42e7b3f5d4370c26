"""Phrases for models that are no Diffusers UNet: the home-made UNet, adapters, autoencoders, encoders, DiTs. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from t2i_checkpoint.rebuild_layers import Layers

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture

_MATRIX, _IMAGE_KERNEL = 2, 4
_FIRST_CONVOLUTIONS = ("input_conv", "conv_in", "input_blocks.0.0", "input_blocks.0", "in_conv", "init_conv", "conv1")
_TEXT_PROJECTIONS = {"text_embed", "text_proj", "text_projection", "cond_embed", "context_proj", "caption_projection"}
_CONTEXT_KEYS = (".attn2.to_k.weight", ".cross_attn.to_k.weight", ".encoder_kv.weight", ".to_kv.weight")
_QUERIES = ("to_q.weight", "qkv.weight", "q_linear.weight", "q_proj.weight")
# Kinds of adapters by the tensor whose first axis is the rank.
_ADAPTERS = (
    ("LoHa", ".hada_w1_b"),
    ("LoKr", ".lokr_w1_b"),
    ("LoRA", ".lora_A."),
    ("LoRA", ".lora_down."),
    ("LoRA", "lora.down."),
)


def describe_custom_unet(model: Architecture) -> str:
    """Width, depth and context: `8 residual blocks of 48-96 channels, 3 channels in, text width 384`."""
    residual = [p.shape for name, p in model.parameters.items() if name.endswith("in_layers.2.weight") and p.shape]
    widths = sorted({shape[0] for shape in residual})
    facts = []
    if widths:
        span = f"{widths[0]}-{widths[-1]}" if len(widths) > 1 else f"{widths[0]}"
        facts.append(f"{len(residual)} residual blocks of {span} channels")
    inputs = _first_convolution(model)
    if inputs is not None:
        facts.append(f"{inputs} channels in")
    attentions = sum(name.endswith(".qkv.weight") for name in model)
    if attentions:
        facts.append(f"{attentions} attention layers")
    for word, width in (("cross-attention", _context(model)), ("text width", _text_width(model))):
        if width is not None:
            facts.append(f"{word} {width}")
    return ", ".join(facts) or f"{len(model)} tensors"


def describe_adapter(model: Architecture) -> str:
    """Return `LoRA of rank 8 on 64 layers`."""
    kind, ending = next(((k, e) for k, e in _ADAPTERS if any(e in name for name in model)), ("adapter", ""))
    ranks = Counter(p.shape[0] for name, p in model.parameters.items() if ending and ending in name and p.shape)
    if not ranks:
        return kind
    span = str(min(ranks)) if len(ranks) == 1 else f"{min(ranks)}-{max(ranks)}"
    layers = sum(ranks.values())
    return f"{kind} of rank {span} on {layers} layer{'' if layers == 1 else 's'}"


def describe_other(model: Architecture) -> str | None:
    """Return a phrase for the other models that lie in buckets of diffusion people, or None."""
    layers = Layers(model)
    if layers.has("encoder") and layers.has("decoder") and (layers.has("quant_conv") or layers.has("decoder.conv_out")):
        return "autoencoder (VAE)"
    if layers.has("text_model.encoder.layers"):
        return f"CLIP text encoder of {len(layers.indices('text_model.encoder.layers'))} layers"
    if layers.has("encoder.block") and layers.has("shared"):
        return f"T5 text encoder of {len(layers.indices('encoder.block'))} layers"
    for blocks in ("transformer_blocks", "blocks", "joint_blocks", "double_blocks"):
        depth = len(layers.indices(blocks))
        width = _first_width(model, f"{blocks}.0.")
        if depth and width is not None and not layers.has("mid_block"):
            return f"diffusion transformer (DiT) of {depth} blocks, width {width}"
    return None


def _first_convolution(model: Architecture) -> int | None:
    for name in _FIRST_CONVOLUTIONS:
        shape = model.shape(f"{name}.weight")
        if shape is not None and len(shape) == _IMAGE_KERNEL:
            return shape[1]
    return None


def _context(model: Architecture) -> int | None:
    shapes = (p.shape for name, p in model.parameters.items() if name.endswith(_CONTEXT_KEYS))
    return next((shape[1] for shape in shapes if len(shape) > 1), None)


def _text_width(model: Architecture) -> int | None:
    for name, parameter in model.parameters.items():
        if len(parameter.shape) == _MATRIX and not _TEXT_PROJECTIONS.isdisjoint(name.split(".")):
            return parameter.shape[1]
    return None


def _first_width(model: Architecture, prefix: str) -> int | None:
    """Return what the first block's queries are made from."""
    shapes = (p.shape for name, p in model.parameters.items() if name.startswith(prefix) and name.endswith(_QUERIES))
    return next((shape[1] for shape in shapes if len(shape) == _MATRIX), None)
