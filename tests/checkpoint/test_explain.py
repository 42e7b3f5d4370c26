"""The sentence says what the stored model is and what the job asks for, as the people who train them would."""

from typing import Any

import pytest

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.explain import describe, explain_difference, explain_renaming
from t2i_checkpoint.renaming import find_renaming, translate
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_dev.corpus import ldm
from t2i_dev.story.custom_unet import CustomUNet

SD1 = {"cross_attention_dim": 768}
SD2 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
SDXL = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SHALLOW = {"down_block_types": ["CrossAttnDownBlock2D"] * 2, "up_block_types": ["CrossAttnUpBlock2D"] * 2}
TINY = {
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 4,
    "cross_attention_dim": 384,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}


def explain(stored: Architecture, wanted: Architecture) -> str:
    renaming = translate(stored, wanted)
    renamed = renaming.apply(stored)
    return explain_difference(renamed, wanted, renamed.diff(wanted), renaming)


@pytest.mark.parametrize(
    ("stored", "asked", "says"),
    [
        (SD1, {**SD1, "in_channels": 9}, "the stored UNet is 4 channels in, the job asks for 9 (inpainting)"),
        ({**SD1, "in_channels": 9}, SD1, "the stored UNet is 9 channels in (inpainting), the job asks for 4"),
        (SD2, {**SD2, "in_channels": 5}, "the stored UNet is 4 channels in, the job asks for 5 (depth)"),
        (SD1, SD2, "cross-attention 768 against 1024: an SD 1.x checkpoint in an SD 2.x job"),
        (SDXL, SD1, "cross-attention 2048 against 768: an SDXL checkpoint in an SD 1.x job"),
        ({**TINY, "in_channels": 1}, TINY, "the stored UNet is 1 channel in, the job asks for 4"),
        (TINY, {**TINY, "cross_attention_dim": 768}, "cross-attention 384 against 768"),
        (TINY, {**TINY, "out_channels": 8}, "4 channels out against 8"),
        (TINY, {**TINY, "block_out_channels": [16, 64]}, "the first block is 32 channels wide, the job asks for 16"),
        (TINY, {**TINY, "block_out_channels": [32, 96]}, "levels of 32/64 channels, the job asks for 32/96"),
        (
            {**SD1, "block_out_channels": [320, 640]} | SHALLOW,
            SD1,
            "2 levels of 320/640 channels, the job asks for 4",
        ),
        (
            TINY,
            {**TINY, "use_linear_projection": True},
            "attention projects by 1x1 convolutions, the job asks",
        ),
        (TINY, {**TINY, "layers_per_block": 2}, "layers per block 1 against 2"),
        (TINY, {**TINY, "transformer_layers_per_block": 2}, "transformer layers per block 1/1 against 1/2"),
        (
            TINY,
            {**TINY, "down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2},
            "down blocks DownBlock2D/CrossAttnDownBlock2D against DownBlock2D/DownBlock2D",
        ),
        (TINY, {**TINY, "mid_block_type": None}, "middle blocks UNetMidBlock2DCrossAttn against none"),
        (TINY, {**TINY, "class_embed_type": "timestep"}, "class embedding none against timestep"),
        (TINY, {**TINY, "num_class_embeds": 10}, "number of classes none against 10"),
        (TINY, {**TINY, "resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift) none against scale_shift"),
        (TINY, {**TINY, "time_embedding_dim": 64}, "time embedding width none against 64"),
        (TINY, {**TINY, "time_cond_proj_dim": 8}, "1 are missing, 0 unexpected, 0 of another shape; the first is "),
    ],
)
def test_two_unets_are_told_apart_by_what_people_set(stored: dict[str, Any], asked: dict[str, Any], says: str) -> None:
    assert says in explain(unet_architecture_from_mapping(stored), unet_architecture_from_mapping(asked))


def test_between_two_published_models_all_else_follows() -> None:
    says = explain(unet_architecture_from_mapping(SD1), unet_architecture_from_mapping(SD2))
    assert says == "cross-attention 768 against 1024: an SD 1.x checkpoint in an SD 2.x job"


def test_the_old_unet_is_named_with_what_the_job_asks_for() -> None:
    old = Architecture.from_shapes({name: tuple(t.shape) for name, t in CustomUNet().state_dict().items()})
    assert explain(old, unet_architecture_from_mapping(TINY)) == (
        "stored is a home-made UNet, 8 residual blocks of 48-96 channels, 3 channels in, text width 384, 1.4 M; "
        "the job asks for a Diffusers UNet, 2 levels of 32-64 channels, 1.2 M, 4 channels in, cross-attention 384"
    )


def test_an_ldm_file_that_fits_is_convertible() -> None:
    stored = Architecture.from_shapes(ldm.shapes(ldm.SD1))
    renaming = find_renaming(stored, unet_architecture_from_mapping(SD1))
    assert renaming is not None
    assert explain_renaming(renaming) == "LDM names, same shapes: convertible"
    beside = Architecture.from_shapes({**ldm.shapes(ldm.SD1), "first_stage_model.encoder.x": (1,)})
    renaming = find_renaming(beside, unet_architecture_from_mapping(SD1))
    assert renaming is not None
    assert explain_renaming(renaming) == (
        "LDM names, same shapes: convertible; 1 other tensor left out (first_stage_model)"
    )


def test_an_ldm_file_of_another_model_is_explained_in_the_jobs_terms() -> None:
    stored = Architecture.from_shapes(ldm.shapes(ldm.SD1))
    says = explain(stored, unet_architecture_from_mapping({**SD1, "in_channels": 9}))
    assert says == "LDM names; the stored UNet is 4 channels in, the job asks for 9 (inpainting)"
    says = explain(stored, unet_architecture_from_mapping(SD2))
    assert says.startswith("LDM names; cross-attention 768 against 1024: an SD 1.x checkpoint in an SD 2.x job")


@pytest.mark.parametrize(
    ("shapes", "described"),
    [
        ({"a.weight": (3, 4)}, "another model, 12 parameters, 1 tensors"),
        (ldm.shapes(ldm.SDXL), "an SDXL UNet in LDM naming, 2.57 B, 4 channels in, cross-attention 2048"),
        ({"encoder.conv_in.weight": (8, 3), "decoder.conv_out.weight": (3, 8)}, "an autoencoder (VAE), 48 parameters"),
    ],
)
def test_a_model_is_described_with_its_article(shapes: dict[str, tuple[int, ...]], described: str) -> None:
    assert describe(Architecture.from_shapes(shapes)) == described
