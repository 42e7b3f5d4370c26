"""A stored model is named as what it is, and its config, where one is given, makes exactly the stored model again."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import (
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    PeftConfig,
    get_peft_model,
    get_peft_model_state_dict,
)

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.rebuild import rebuild
from t2i_checkpoint.recognise import ModelFamily, recognise
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_dev.corpus import ldm
from t2i_dev.story.custom_unet import CustomUNet

X4_UPSCALER = ldm.LdmConfig(7, 4, 256, (1, 2, 2, 4), 2, (0, 1, 1, 1), 1, 1024, linear_projection=True)
SD2 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
TINY = {
    "block_out_channels": [64, 128],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 384,
}


def of_module(module: Any) -> Architecture:
    return Architecture.from_shapes({name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})


@pytest.mark.parametrize(
    ("config", "described"),
    [
        ({"cross_attention_dim": 768}, "SD 1.x UNet, 860 M, 4 channels in, cross-attention 768"),
        (
            {"cross_attention_dim": 768, "in_channels": 9},
            "SD 1.x inpainting UNet, 860 M, 9 channels in, cross-attention 768",
        ),
        (SD2, "SD 2.x UNet, 866 M, 4 channels in, cross-attention 1024"),
        ({**SD2, "in_channels": 5}, "SD 2.x depth UNet, 866 M, 5 channels in, cross-attention 1024"),
        (TINY, "Diffusers UNet, 2 levels of 64-128 channels, 4.2 M, 4 channels in, cross-attention 384"),
        (
            {**TINY, "block_out_channels": [64], "down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"]}
            | {"mid_block_type": None},
            "Diffusers UNet, 1 level of 64 channels, 449.4 k, 4 channels in",
        ),
    ],
)
def test_a_diffusers_unet_is_named_and_its_config_recovered(config: dict[str, Any], described: str) -> None:
    model = unet_architecture_from_mapping(config)
    rebuilt = rebuild(model)
    assert rebuilt is not None
    assert rebuilt.described == described
    assert rebuilt.config is not None
    assert unet_architecture_from_mapping(rebuilt.config).diff(model).is_empty
    recovered = {key: value for key, value in rebuilt.config.items() if key in config}
    assert recovered == {key: value for key, value in config.items() if key in recovered}
    assert set(config) - set(recovered) <= {"cross_attention_dim"}  # nothing shows it where there is no attention


@pytest.mark.parametrize(
    ("original", "described"),
    [
        (ldm.SD1, "SD 1.x UNet in LDM naming, 860 M, 4 channels in, cross-attention 768"),
        (
            ldm.SD1_INPAINTING,
            "SD 1.x inpainting UNet in LDM naming, 860 M, 9 channels in, cross-attention 768",
        ),
        (ldm.SD2, "SD 2.x UNet in LDM naming, 866 M, 4 channels in, cross-attention 1024"),
        (replace(ldm.SD2, labels=2048), "SD 2.x UNet in LDM naming, 870 M, 4 channels in, cross-attention 1024"),
        (ldm.SDXL, "SDXL UNet in LDM naming, 2.57 B, 4 channels in, cross-attention 2048"),
        (ldm.SDXL_REFINER, "SDXL refiner UNet in LDM naming, 2.26 B, 4 channels in, cross-attention 1280"),
        (
            X4_UPSCALER,
            "UNet in LDM naming, 4 levels of 256-1024 channels, 467 M, 7 channels in, cross-attention 1024",
        ),
    ],
)
def test_an_ldm_file_is_named_as_the_model_it_is(original: ldm.LdmConfig, described: str) -> None:
    whole_file = {**ldm.shapes(original), "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3), "betas": (1000,)}
    rebuilt = rebuild(Architecture.from_shapes(whole_file))
    assert rebuilt is not None
    assert rebuilt.described == described
    assert rebuilt.config is not None
    assert unet_architecture_from_mapping(rebuilt.config).count == Architecture.from_shapes(ldm.shapes(original)).count


def test_depths_of_single_layers_are_recovered() -> None:
    """SSD-1B: SDXL with transformer blocks taken out layer by layer."""
    config = {
        "block_out_channels": [32, 64, 128],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "mid_block_type": None,
        "transformer_layers_per_block": [1, [2, 2], [4, 4]],
        "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
    }
    model = unet_architecture_from_mapping(config)
    rebuilt = rebuild(model)
    assert rebuilt is not None
    assert rebuilt.config is not None
    assert unet_architecture_from_mapping(rebuilt.config).diff(model).is_empty


def test_published_values_that_leave_no_trace_are_the_published_ones() -> None:
    sdxl = rebuild(Architecture.from_shapes(ldm.shapes(ldm.SDXL)))
    unclip = rebuild(Architecture.from_shapes(ldm.shapes(replace(ldm.SD2, labels=2048))))
    assert sdxl is not None
    assert sdxl.config is not None
    assert sdxl.config["attention_head_dim"] == [5, 10, 20]
    assert sdxl.config["addition_time_embed_dim"] == 256
    assert unclip is not None
    assert unclip.config is not None
    assert unclip.config["class_embed_type"] == "projection"


def test_the_old_unet_of_the_story_is_told_by_width_depth_and_context() -> None:
    rebuilt = rebuild(of_module(CustomUNet()))
    assert rebuilt is not None
    assert rebuilt.described == (
        "home-made UNet, 8 residual blocks of 48-96 channels, 3 channels in, text width 384, 1.4 M"
    )
    assert rebuilt.config is None
    wrapped = rebuild(Architecture((f"module.{n}", p) for n, p in of_module(CustomUNet(64)).parameters.items()))
    assert wrapped is not None
    assert "of 64-128 channels" in wrapped.described


@pytest.mark.parametrize(
    ("config", "described"),
    [
        (LoraConfig(r=4, target_modules=["0", "1"]), "LoRA of rank 4 on 2 layers, 128 parameters"),
        (
            LoraConfig(r=4, target_modules=["0", "1"], rank_pattern={"1": 2}),
            "LoRA of rank 2-4 on 2 layers, 96 parameters",
        ),
        (LoHaConfig(r=2, target_modules=["0"]), "LoHa of rank 2 on 1 layer, 64 parameters"),
        (LoKrConfig(r=2, target_modules=["0"]), "adapter, 20 parameters"),
        (IA3Config(target_modules=["0"], feedforward_modules=[]), "adapter, 8 parameters"),
    ],
)
def test_an_adapter_is_told_by_its_kind_and_rank(config: PeftConfig, described: str) -> None:
    base: Any = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    state = get_peft_model_state_dict(get_peft_model(base, config))
    adapter = Architecture.from_shapes({name: tuple(tensor.shape) for name, tensor in state.items()})
    assert recognise(adapter) is ModelFamily.ADAPTER
    rebuilt = rebuild(adapter)
    assert rebuilt is not None
    assert rebuilt.described == described


@pytest.mark.parametrize(
    "names",
    [
        ["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"],
        ["unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight"],
        ["down_blocks.0.attentions.0.processor.to_q_lora.down.weight"],
    ],
)
def test_adapters_of_other_programs_are_adapters(names: list[str]) -> None:
    rebuilt = rebuild(Architecture.from_shapes(dict.fromkeys(names, (4, 8))))
    assert rebuilt is not None
    assert rebuilt.described == "LoRA of rank 4 on 1 layer, 32 parameters"


def test_other_models_of_a_pipeline_are_told() -> None:
    with torch.device("meta"):
        vae: Any = AutoencoderKL()  # type: ignore[no-untyped-call]
        dit: Any = DiTTransformer2DModel(num_attention_heads=2, attention_head_dim=8, num_layers=3)  # type: ignore[no-untyped-call]
    autoencoder, transformer = rebuild(of_module(vae)), rebuild(of_module(dit))
    assert autoencoder is not None
    assert autoencoder.described.startswith("autoencoder (VAE)")
    assert transformer is not None
    assert transformer.described.startswith("diffusion transformer (DiT) of 3 blocks, width 16")


def test_a_part_of_a_unet_is_called_one_and_has_no_config() -> None:
    model = unet_architecture_from_mapping(TINY)
    part = rebuild(Architecture((n, p) for n, p in model.parameters.items() if n.startswith("down_blocks.")))
    assert part is not None
    assert part.described.startswith("part of a UNet")
    assert part.config is None
    less = rebuild(Architecture((n, p) for n, p in model.parameters.items() if n != "conv_norm_out.bias"))
    assert less is not None
    assert less.config is None


def test_what_nothing_tells_is_nothing() -> None:
    assert rebuild(Architecture.from_shapes({"weight": (3, 3)})) is None
    assert rebuild(Architecture(())) is None


KINDS = ["", "Attn", "CrossAttn", "SimpleCrossAttn", "Skip", "AttnSkip", "K", "KCrossAttn"]
CONDITIONS: list[dict[str, Any]] = [
    {},
    {"encoder_hid_dim": 5},
    {"encoder_hid_dim": 5, "encoder_hid_dim_type": "text_image_proj", "addition_embed_type": "text_image"},
    {"encoder_hid_dim": 5, "encoder_hid_dim_type": "image_proj", "addition_embed_type": "image_hint"},
    {"class_embed_type": "timestep", "class_embeddings_concat": True},
    {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 7},
    {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 7},
    {"addition_embed_type": "text", "num_class_embeds": 3},
    {"attention_type": "gated", "time_cond_proj_dim": 3},
    {"time_embedding_type": "fourier", "conv_in_kernel": 1, "resnet_time_scale_shift": "scale_shift"},
]


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Models of one kind of block, perhaps without attention on some levels."""
    kind = draw(st.sampled_from(KINDS))
    levels = draw(st.integers(1, 3))
    plain = {"K": "K", "KCrossAttn": "K", "AttnSkip": "Skip", "Skip": "Skip"}.get(kind, "")

    def each(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=levels, max_size=levels))

    kinds = each(st.sampled_from([kind, kind, plain]))
    return {
        "in_channels": draw(st.integers(1, 9)),
        "block_out_channels": each(st.sampled_from([32, 64])),
        "down_block_types": [f"{block}DownBlock2D" for block in kinds],
        "up_block_types": [f"{block}UpBlock2D" for block in reversed(kinds)],
        "mid_block_type": draw(
            st.sampled_from([None, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn"])
        ),
        "layers_per_block": each(st.integers(1, 3)),
        "norm_num_groups": 8,
        "cross_attention_dim": draw(st.sampled_from([24, 48])),
        "transformer_layers_per_block": each(st.integers(1, 2)),
        "attention_head_dim": 8,
        "use_linear_projection": draw(st.booleans()),
        **draw(st.sampled_from(CONDITIONS)),
    }


@given(configs())
@settings(max_examples=300, deadline=None)
def test_the_config_of_a_derived_model_is_recovered(config: dict[str, Any]) -> None:
    model = unet_architecture_from_mapping(config)
    rebuilt = rebuild(model)
    assert rebuilt is not None
    assert rebuilt.config is not None
    assert unet_architecture_from_mapping(rebuilt.config).diff(model).is_empty


_FRAME = ["down_blocks", "up_blocks", "mid_block", "resnets", "attentions", "conv_in", "conv_out", "time_embedding"]
_INSIDE = ["0", "1", "99999", "conv1", "weight", "in_layers", "transformer_blocks", "proj_in", "norm1", "linear_1"]
PARTS = st.sampled_from([*_FRAME, *_INSIDE, "input_blocks"])
SHAPES = st.lists(st.integers(0, 9), max_size=4).map(tuple)


@given(st.dictionaries(st.lists(PARTS, min_size=1, max_size=6).map(".".join), SHAPES, max_size=20))
@settings(max_examples=300, deadline=None)
def test_hostile_names_and_shapes_are_described_without_a_crash(shapes: dict[str, tuple[int, ...]]) -> None:
    rebuilt = rebuild(Architecture.from_shapes(shapes))
    assert rebuilt is None or rebuilt.described
