"""The UNets that a job can ask for by name, so that the common case needs no config.

`stable-diffusion-v1` and `-v2` are the published `unet/config.json` of SD 1.5 and SD 2.1; `tiny` is what the examples
train on two CPU cores: 32x32 pictures in pixel space, unshuffled to 12 x 16 x 16.
"""

from types import MappingProxyType

from t2i_api.unet_config import UNetConfig

PRESETS: MappingProxyType[str, UNetConfig] = MappingProxyType(
    {
        "stable-diffusion-v1": UNetConfig(sample_size=64, cross_attention_dim=768),
        "stable-diffusion-v2": UNetConfig(
            sample_size=96,
            cross_attention_dim=1024,
            attention_head_dim=[5, 10, 20, 20],
            use_linear_projection=True,
        ),
        "tiny": UNetConfig(
            sample_size=16,
            in_channels=12,
            out_channels=12,
            block_out_channels=[64, 128],
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
            layers_per_block=1,
            cross_attention_dim=384,
            attention_head_dim=4,
            norm_num_groups=8,
        ),
    }
)
