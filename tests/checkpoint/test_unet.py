"""The derived names and shapes are Diffusers' own, in its order."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2i_checkpoint.unet import unet_architecture_from_mapping

SD15 = {"cross_attention_dim": 768}
SD21 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
SDXL = {
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
TINY = {
    "sample_size": 16,
    "block_out_channels": [64, 128],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 4,
    "cross_attention_dim": 384,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}
TINY_PIXELS = {**TINY, "in_channels": 3, "out_channels": 3, "block_out_channels": [32, 64]}
TINY_UNSHUFFLED = {**TINY, "in_channels": 12, "out_channels": 12}
IF_STAGE_1 = {
    "in_channels": 3,
    "out_channels": 6,
    "act_fn": "gelu",
    "block_out_channels": [64, 128, 192, 256],
    "down_block_types": ["ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": [*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"],
    "attention_head_dim": 64,
    "cross_attention_dim": 256,
    "cross_attention_norm": "group_norm",
    "encoder_hid_dim": 96,
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 8,
    "layers_per_block": 3,
    "resnet_time_scale_shift": "scale_shift",
    "resnet_out_scale_factor": 1.4,
    "resnet_skip_time_act": True,
}
KANDINSKY_22 = {
    "out_channels": 8,
    "block_out_channels": [64, 128, 192, 256],
    "down_block_types": ["ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": [*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"],
    "attention_head_dim": 64,
    "cross_attention_dim": 96,
    "encoder_hid_dim": 160,
    "encoder_hid_dim_type": "image_proj",
    "addition_embed_type": "image",
    "layers_per_block": 3,
    "resnet_time_scale_shift": "scale_shift",
}
KANDINSKY_21 = {**KANDINSKY_22, "encoder_hid_dim_type": "text_image_proj", "addition_embed_type": "text_image"}
LATENT_UPSCALER = {
    "in_channels": 8,
    "out_channels": 5,
    "act_fn": "gelu",
    "block_out_channels": [384, 384, 768, 768],
    "down_block_types": ["KDownBlock2D", *["KCrossAttnDownBlock2D"] * 3],
    "mid_block_type": None,
    "up_block_types": [*["KCrossAttnUpBlock2D"] * 3, "KUpBlock2D"],
    "attention_head_dim": 64,
    "cross_attention_dim": 768,
    "layers_per_block": 4,
    "norm_num_groups": None,
    "conv_in_kernel": 1,
    "conv_out_kernel": 1,
    "time_cond_proj_dim": 896,
    "time_embedding_type": "fourier",
    "timestep_post_act": "gelu",
    "resnet_time_scale_shift": "scale_shift",
}
AUDIO_LDM = {
    "in_channels": 8,
    "out_channels": 8,
    "block_out_channels": [128, 256, 384, 640],
    "cross_attention_dim": [128, 256, 384, 640],
    "class_embed_type": "simple_projection",
    "class_embeddings_concat": True,
    "projection_class_embeddings_input_dim": 512,
}
SSD_1B = {
    **SDXL,
    "mid_block_type": None,
    "transformer_layers_per_block": [1, [2, 2], [4, 4]],
    "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
}
X4_UPSCALER = {
    "in_channels": 7,
    "block_out_channels": [256, 512, 512, 1024],
    "down_block_types": ["DownBlock2D", *["CrossAttnDownBlock2D"] * 3],
    "up_block_types": [*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"],
    "only_cross_attention": [True, True, True, False],
    "cross_attention_dim": 1024,
    "num_class_embeds": 1000,
    "use_linear_projection": True,
}
NCSNPP = {
    "block_out_channels": [32, 64],
    "norm_num_groups": 8,
    "cross_attention_dim": 12,
    "down_block_types": ["SkipDownBlock2D", "AttnSkipDownBlock2D"],
    "up_block_types": ["AttnSkipUpBlock2D", "SkipUpBlock2D"],
}
NESTED = {
    **TINY,
    "layers_per_block": 2,
    "transformer_layers_per_block": ((1, 1), (2, 1)),
    "reverse_transformer_layers_per_block": ((1, 2, 0), (1, 1, 1)),
}


def from_diffusers(config: dict[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    with torch.device("meta"):
        model: torch.nn.Module = UNet2DConditionModel(**config)  # type: ignore[no-untyped-call, assignment]  # untyped
    return [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]


def derived(config: dict[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    architecture = unet_architecture_from_mapping(config)
    return [(name, parameter.shape) for name, parameter in architecture.parameters.items()]


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        pytest.param(SD15, 859_520_964, id="SD 1.5"),
        pytest.param({**SD15, "in_channels": 9}, 859_535_364, id="SD 1.5 inpainting"),
        pytest.param(SD21, 865_910_724, id="SD 2.1"),
        pytest.param(SDXL, 2_567_463_684, id="SDXL"),
        pytest.param(TINY_PIXELS, None, id="tiny, RGB"),
        pytest.param(TINY_UNSHUFFLED, None, id="tiny, 2x2 unshuffled"),
        pytest.param({}, None, id="Diffusers' defaults"),
        pytest.param(NESTED, None, id="depth by layer"),
        pytest.param(IF_STAGE_1, None, id="DeepFloyd IF"),
        pytest.param(
            {**IF_STAGE_1, "in_channels": 6, "class_embed_type": "timestep"}, None, id="DeepFloyd IF, upscaler"
        ),
        pytest.param({**IF_STAGE_1, "only_cross_attention": True}, None, id="DeepFloyd IF, on text alone"),
        pytest.param(KANDINSKY_21, None, id="Kandinsky 2.1"),
        pytest.param(KANDINSKY_22, None, id="Kandinsky 2.2"),
        pytest.param({**KANDINSKY_22, "addition_embed_type": "image_hint"}, None, id="Kandinsky 2.2 with a hint"),
        pytest.param(LATENT_UPSCALER, None, id="latent upscaler (k-diffusion)"),
        pytest.param(AUDIO_LDM, None, id="AudioLDM"),
        pytest.param(SSD_1B, None, id="SSD-1B"),
        pytest.param(X4_UPSCALER, None, id="x4 upscaler"),
        pytest.param({**SD15, "attention_type": "gated"}, None, id="GLIGEN"),
        pytest.param({**SD15, "attention_type": "gated-text-image"}, None, id="GLIGEN, text and image"),
        pytest.param({**SD15, "cross_attention_dim": (768,) * 4, "attention_type": "gated"}, None, id="GLIGEN, tuple"),
        pytest.param({**SD15, "dual_cross_attention": True}, None, id="Versatile Diffusion"),
        pytest.param({**SD15, "time_cond_proj_dim": 256}, None, id="LCM"),
        pytest.param(NCSNPP, None, id="NCSN++ blocks"),
        pytest.param({**TINY, "down_block_types": ["AttnDownBlock2D"] * 2}, None, id="pixel attention"),
        pytest.param({**TINY, "attention_head_dim": [4, 16]}, None, id="heads by level"),
        pytest.param({**TINY, "mid_block_type": None}, None, id="no middle"),
        pytest.param({**TINY, "mid_block_type": "UNetMidBlock2D"}, None, id="middle without attention"),
        pytest.param({**TINY, "addition_embed_type": "text"}, None, id="pooled text"),
        pytest.param({**TINY, "time_embedding_type": "fourier"}, None, id="fourier time"),
        pytest.param({**TINY, "class_embed_type": "identity", "class_embeddings_concat": True}, None, id="concat"),
        pytest.param({**TINY, "attention_head_dim": 7}, None, id="heads that do not divide the width"),
        pytest.param({**TINY, "down_block_types": ["UNetResDownBlock2D"] * 2}, None, id="first release's names"),
    ],
)
def test_names_and_shapes_are_diffusers(config: dict[str, Any], parameters: int | None) -> None:
    assert derived(config) == from_diffusers(config)
    if parameters is not None:
        assert unet_architecture_from_mapping(config).count == parameters


KINDS = ["", "Attn", "CrossAttn", "SimpleCrossAttn", "Skip", "AttnSkip", "K", "KCrossAttn", "Resnet"]
MIDDLES = [None, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn"]


def block_name(kind: str, side: str) -> str:
    return f"Resnet{side}sampleBlock2D" if kind == "Resnet" else f"{kind}{side}Block2D"


@st.composite
def configs(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Configs of one to three levels, each of `kind` or of any other type that goes with it."""
    levels = draw(st.integers(1, 3))
    kinds = st.sampled_from([kind, kind, kind, *KINDS])
    # Attention of Skip blocks is always normalized in 32 groups, "group_norm" of the context as well.
    widths = st.sampled_from([32, 64, 96]) if "Skip" in kind else st.sampled_from([32, 64])

    def each(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=levels, max_size=levels))

    down, up = each(kinds), each(kinds)
    middle = draw(st.sampled_from(MIDDLES))
    groupless = all(block.startswith("K") or block == "Skip" for block in [*down, *up])
    return {
        "in_channels": draw(st.integers(1, 9)),
        "out_channels": draw(st.integers(1, 9)),
        "block_out_channels": each(widths),
        "down_block_types": [block_name(block, "Down") for block in down],
        "up_block_types": [block_name(block, "Up") for block in up],
        "mid_block_type": middle,
        "only_cross_attention": draw(st.booleans() | st.just(each(st.booleans()))),
        "mid_block_only_cross_attention": draw(st.sampled_from([None, True, False])),
        "cross_attention_norm": draw(st.sampled_from([None, "layer_norm", "group_norm"])),
        "layers_per_block": draw(st.just(each(st.integers(1, 3))) | st.integers(1, 3)),
        "norm_num_groups": None if groupless and draw(st.booleans()) else draw(st.sampled_from([1, 2, 4, 32])),
        "act_fn": draw(st.sampled_from(["silu", "gelu", "mish", "relu"])),
        "cross_attention_dim": draw(st.sampled_from([32, 64])),
        "transformer_layers_per_block": draw(st.just(each(st.integers(0, 2))) | st.integers(1, 2)),
        "attention_head_dim": draw(st.just(each(st.integers(1, 9))) | st.integers(1, 9)),
        "use_linear_projection": draw(st.booleans()),
        "dual_cross_attention": draw(st.booleans()),
        "attention_type": draw(st.sampled_from(["default", "gated", "gated-text-image"])),
        "resnet_time_scale_shift": draw(st.sampled_from(["default", "scale_shift"])),
        "time_embedding_dim": draw(st.none() | st.sampled_from([6, 32])),
        "class_embeddings_concat": draw(st.booleans()),
    }


@st.composite
def conditionings(draw: st.DrawFn) -> dict[str, Any]:
    """What stands before the blocks, of one small level."""
    return {
        "block_out_channels": [8],
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
        "mid_block_type": None,
        "norm_num_groups": 4,
        "cross_attention_dim": draw(st.integers(1, 24)),
        "encoder_hid_dim": draw(st.integers(1, 12)),
        "encoder_hid_dim_type": draw(st.sampled_from([None, "text_proj", "text_image_proj", "image_proj"])),
        "class_embed_type": draw(st.sampled_from([None, "timestep", "identity", "projection", "simple_projection"])),
        "num_class_embeds": draw(st.none() | st.integers(1, 5)),
        "class_embeddings_concat": draw(st.booleans()),
        "addition_embed_type": draw(
            st.sampled_from([None, "text", "text_time", "text_image", "image", "image_hint"]),
        ),
        "addition_embed_type_num_heads": 1,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": draw(st.integers(1, 12)),
        "attention_type": draw(st.sampled_from(["default", "gated", "gated-text-image"])),
        "time_embedding_type": draw(st.sampled_from(["positional", "fourier"])),
        "time_embedding_dim": draw(st.none() | st.sampled_from([6, 10])),
        "time_cond_proj_dim": draw(st.none() | st.integers(1, 5)),
        "conv_in_kernel": draw(st.sampled_from([1, 3])),
        "conv_out_kernel": draw(st.sampled_from([1, 3])),
    }


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_config_of_a_block_type_is_derived_as_diffusers_builds_it(kind: str, data: st.DataObject) -> None:
    config = data.draw(configs(kind))
    assert derived(config) == from_diffusers(config)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conditionings())
def test_any_conditioning_is_derived_as_diffusers_builds_it(config: dict[str, Any]) -> None:
    assert derived(config) == from_diffusers(config)
