"""A config that names and shapes cannot be derived for is refused, by field and value."""

from typing import Any

import pytest

from t2i_checkpoint.unet import UnsupportedConfigError, unet_architecture_from_mapping

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


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"down_block_types": ["DownEncoderBlock2D"] * 2}, "down_block_types"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 2}, "up_block_types"),
        ({"up_block_types": ["UpBlock2D"]}, "up_block_types"),
        ({"mid_block_type": "UNetMidBlock3D"}, "mid_block_type"),
        ({"attention_type": "sparse"}, "attention_type"),
        ({"attention_type": "gated", "cross_attention_dim": [8, 8]}, "cross_attention_dim"),
        ({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "cross_attention_norm": "batch"}, "cross_attention_norm"),
        (
            {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "cross_attention_norm": "group_norm"}
            | {"cross_attention_dim": 33},
            "cross_attention_norm",
        ),
        ({"down_block_types": ["AttnSkipDownBlock2D"] * 2, "block_out_channels": [48, 48]}, "block_out_channels"),
        ({"down_block_types": ["AttnDownBlock2D"] * 2, "attention_head_dim": 200}, "attention_head_dim"),
        ({"num_attention_heads": 4}, "num_attention_heads"),
        ({"addition_embed_type": "video"}, "addition_embed_type"),
        ({"addition_embed_type": "image"}, "encoder_hid_dim"),
        ({"encoder_hid_dim_type": "video_proj", "encoder_hid_dim": 4}, "encoder_hid_dim_type"),
        ({"encoder_hid_dim_type": "image_proj"}, "encoder_hid_dim"),
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
