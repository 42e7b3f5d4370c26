"""LDM names map as Diffusers' own conversion maps them, for every published shape, and give its model exactly."""

from dataclasses import replace
from typing import Any

import pytest
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.renaming_ldm import diffusers_names
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_dev.corpus import ldm

SD2 = {"cross_attention_dim": 1024, "use_linear_projection": True}
XL = {"use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256}
XL_BLOCKS = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}
REFINER_BLOCKS = {
    "block_out_channels": [384, 768, 1536, 1536],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}
UPSCALER_BLOCKS = {
    "block_out_channels": [256, 512, 512, 1024],
    "down_block_types": ["DownBlock2D", *["CrossAttnDownBlock2D"] * 3],
    "up_block_types": [*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"],
}
X4_UPSCALER = ldm.LdmConfig(7, 4, 256, (1, 2, 2, 4), 2, (0, 1, 1, 1), 1, 1024, linear_projection=True)
PUBLISHED = [
    pytest.param(ldm.SD1, {"cross_attention_dim": 768}, id="SD 1.x"),
    pytest.param(ldm.SD1_INPAINTING, {"cross_attention_dim": 768, "in_channels": 9}, id="SD 1.x inpainting"),
    pytest.param(ldm.SD2, SD2, id="SD 2.x"),
    pytest.param(replace(ldm.SD2, in_channels=9), {**SD2, "in_channels": 9}, id="SD 2.x inpainting"),
    pytest.param(replace(ldm.SD2, in_channels=5), {**SD2, "in_channels": 5}, id="SD 2.x depth"),
    pytest.param(
        replace(ldm.SD2, labels=2048),
        {**SD2, "class_embed_type": "projection", "projection_class_embeddings_input_dim": 2048},
        id="SD 2.1 unCLIP",
    ),
    pytest.param(X4_UPSCALER, {**SD2, **UPSCALER_BLOCKS, "in_channels": 7}, id="x4 upscaler"),
    pytest.param(
        ldm.SDXL,
        {
            **XL,
            **XL_BLOCKS,
            "cross_attention_dim": 2048,
            "transformer_layers_per_block": [1, 2, 10],
            "projection_class_embeddings_input_dim": 2816,
        },
        id="SDXL",
    ),
    pytest.param(
        ldm.SDXL_REFINER,
        {
            **XL,
            **REFINER_BLOCKS,
            "cross_attention_dim": 1280,
            "transformer_layers_per_block": 4,
            "projection_class_embeddings_input_dim": 2560,
        },
        id="SDXL refiner",
    ),
]


@pytest.mark.parametrize(("original", "config"), PUBLISHED)
def test_every_name_maps_as_diffusers_converts_it(original: ldm.LdmConfig, config: dict[str, Any]) -> None:
    names = {name: name.removeprefix("model.diffusion_model.") for name in ldm.shapes(original)}
    converted = convert_ldm_unet_checkpoint(names, {"layers_per_block": 2, **config})  # type: ignore[no-untyped-call]
    wanted = unet_architecture_from_mapping(config)
    assert diffusers_names(names.values(), wanted) == {name: renamed for renamed, name in converted.items()}


@pytest.mark.parametrize(("original", "config"), PUBLISHED)
def test_the_renamed_model_is_the_one_of_the_diffusers_config(original: ldm.LdmConfig, config: dict[str, Any]) -> None:
    shapes = ldm.shapes(original, "")
    wanted = unet_architecture_from_mapping(config)
    names = diffusers_names(shapes, wanted)
    renamed = Architecture.from_shapes({names[name]: shape for name, shape in shapes.items()})
    assert renamed.diff(wanted).is_empty
    assert len(renamed) == len(wanted)


def test_a_table_of_classes_is_the_class_embedding() -> None:
    # The upscaler's noise levels, which it takes for classes.
    converted = convert_ldm_unet_checkpoint(
        {"model.diffusion_model.label_emb.weight": "label_emb.weight"},
        {"layers_per_block": 2, "num_class_embeds": 1000},
    )  # type: ignore[no-untyped-call]
    assert diffusers_names(["label_emb.weight"]) == {old: new for new, old in converted.items()}


@st.composite
def twins(draw: st.DrawFn) -> tuple[ldm.LdmConfig, dict[str, Any]]:
    """The same random model as LDM's arguments and as Diffusers' config."""
    mult = (1, *draw(st.lists(st.integers(1, 4), max_size=3)))  # Diffusers starts with the first level's width
    layers = draw(st.integers(1, 3))
    attention = [draw(st.booleans()) for _ in mult]
    depths = [draw(st.integers(1, 3)) for _ in mult]
    context = draw(st.integers(1, 9))
    linear = draw(st.booleans())
    adm = draw(st.none() | st.integers(1, 9))
    deepest = depths[-1] if attention[-1] else draw(st.integers(1, 3))
    levels = [depth if has else 0 for depth, has in zip(depths, attention, strict=True)]
    depths[-1] = deepest
    original = ldm.LdmConfig(
        4, 4, 8, mult, layers, levels, deepest, context, linear_projection=linear, labels=adm, groups=1
    )
    config: dict[str, Any] = {
        "block_out_channels": [8 * factor for factor in mult],
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attention],
        "up_block_types": ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)],
        "transformer_layers_per_block": depths,
        "cross_attention_dim": context,
        "use_linear_projection": linear,
        "norm_num_groups": 1,
        "attention_head_dim": 1,
    }
    if adm is not None:
        config |= {**XL, "use_linear_projection": linear, "projection_class_embeddings_input_dim": adm}
    return original, config


@given(twins())
@settings(max_examples=60, deadline=None)
def test_any_ldm_unet_maps_onto_the_same_diffusers_unet(twin: tuple[ldm.LdmConfig, dict[str, Any]]) -> None:
    original, config = twin
    shapes, wanted = ldm.shapes(original, ""), unet_architecture_from_mapping(config)
    names = diffusers_names(shapes, wanted)
    assert len(set(names.values())) == len(shapes)
    assert Architecture.from_shapes({names[name]: shape for name, shape in shapes.items()}).diff(wanted).is_empty


@settings(deadline=None)
@given(st.lists(st.text(alphabet="inputblocks_.0129opcnveray", max_size=60)))
def test_any_names_are_mapped_without_a_crash(names: list[str]) -> None:
    assert set(diffusers_names(names)) <= set(names)
