"""The derived names and shapes are Diffusers' own, in its order; what cannot be derived is refused by name."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2i_checkpoint.unet import UnsupportedConfigError, unet_architecture_from_mapping

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


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    blocks = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 2, 4]))

    def each(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=blocks, max_size=blocks))

    time_channels = st.none() | st.sampled_from([6, 10])
    return {
        "in_channels": draw(st.integers(1, 9)),
        "out_channels": draw(st.integers(1, 9)),
        "block_out_channels": each(st.sampled_from([4, 8, 12, 16])),
        "down_block_types": each(st.sampled_from(["DownBlock2D", "CrossAttnDownBlock2D"])),
        "up_block_types": each(st.sampled_from(["UpBlock2D", "CrossAttnUpBlock2D"])),
        "mid_block_type": draw(st.sampled_from([None, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn"])),
        "only_cross_attention": draw(st.booleans() | st.just(each(st.booleans()))),
        "layers_per_block": draw(st.just(each(st.integers(1, 3))) | st.integers(1, 3)),
        "norm_num_groups": groups,
        "act_fn": draw(st.sampled_from(["silu", "gelu", "mish", "relu"])),
        "cross_attention_dim": draw(st.integers(1, 24)),
        "transformer_layers_per_block": draw(st.just(each(st.integers(0, 2))) | st.integers(1, 2)),
        "attention_head_dim": draw(st.just(each(st.integers(1, 4))) | st.integers(1, 4)),
        "use_linear_projection": draw(st.booleans()),
        "encoder_hid_dim": draw(st.none() | st.integers(1, 12)),
        "class_embed_type": draw(st.sampled_from([None, "timestep", "identity", "projection", "simple_projection"])),
        "num_class_embeds": draw(st.none() | st.integers(1, 5)),
        "class_embeddings_concat": draw(st.booleans()),
        "addition_embed_type": draw(st.sampled_from([None, "text", "text_time"])),
        "addition_embed_type_num_heads": 1,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": draw(st.integers(1, 12)),
        "resnet_time_scale_shift": draw(st.sampled_from(["default", "scale_shift"])),
        "time_embedding_type": draw(st.sampled_from(["positional", "fourier"])),
        "time_embedding_dim": draw(time_channels),
        "time_cond_proj_dim": draw(st.none() | st.integers(1, 5)),
        "conv_in_kernel": draw(st.sampled_from([1, 3])),
        "conv_out_kernel": draw(st.sampled_from([1, 3])),
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs())
def test_any_supported_config_is_derived_as_diffusers_builds_it(config: dict[str, Any]) -> None:
    assert derived(config) == from_diffusers(config)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"down_block_types": ["SimpleCrossAttnDownBlock2D"] * 2}, "down_block_types"),
        ({"up_block_types": ["UpBlock2D"]}, "up_block_types"),
        ({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "mid_block_type"),
        ({"attention_type": "gated"}, "attention_type"),
        ({"dual_cross_attention": True}, "dual_cross_attention"),
        ({"num_attention_heads": 4}, "num_attention_heads"),
        ({"addition_embed_type": "image"}, "addition_embed_type"),
        ({"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": 4}, "encoder_hid_dim_type"),
        ({"encoder_hid_dim": 4, "cross_attention_dim": [8, 8]}, "cross_attention_dim"),
        ({"class_embed_type": "projection"}, "projection_class_embeddings_input_dim"),
        ({"norm_num_groups": 7}, "norm_num_groups"),
        ({"norm_num_groups": None}, "norm_num_groups"),
        ({"block_out_channels": []}, "block_out_channels"),
        ({"block_out_channels": [64, -1]}, "block_out_channels"),
        ({"block_out_channels": [64, True]}, "block_out_channels"),
        ({"layers_per_block": 10_000}, "layers_per_block"),
        ({"attention_head_dim": [1, 2, 3]}, "attention_head_dim"),
        ({"attention_head_dim": 1000}, "attention_head_dim"),
        ({"transformer_layers_per_block": [[1], [1]]}, "reverse_transformer_layers_per_block"),
        ({"transformer_layers_per_block": ["x", 1]}, "transformer_layers_per_block"),
        ({"time_embedding_type": "fourier", "time_embedding_dim": 7}, "time_embedding_dim"),
        ({"in_channels": "4"}, "in_channels"),
        ({"only_cross_attention": [True]}, "only_cross_attention"),
        ({"act_fn": ["silu"]}, "act_fn"),
        ({"a_new_option": 1}, "a_new_option"),
    ],
)
def test_what_cannot_be_derived_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(UnsupportedConfigError, match=rf"unet\.{field} = ") as caught:
        unet_architecture_from_mapping({**TINY, **change})
    assert caught.value.field == field
