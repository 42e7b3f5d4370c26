"""What a job may say of its UNet: a preset's name, or the fields of Diffusers' own `unet/config.json`.

Field names and defaults are those of Diffusers' `UNet2DConditionModel` (snake_case), so that a published `config.json`
can be pasted into a job. Names and shapes that follow from a config are derived in `t2i_checkpoint.unet`.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Channels = Annotated[int, Field(ge=1, le=16384)]
BlockType = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]+$")]
IntegerOrList = Annotated[
    int | list[int],
    Field(json_schema_extra={"x-t2i-integer-or-list": True}),
]
MAXIMUM_BLOCKS = 8


class UNetConfig(BaseModel):
    """The constructor arguments of `diffusers.UNet2DConditionModel` that a job may set (Diffusers 0.42)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    sample_size: int | None = Field(
        default=None, ge=1, le=4096, description="Height and width of the UNet's input in latent pixels. Example: 64."
    )
    in_channels: int = Field(
        default=4, ge=1, le=1024, description="Channels of the noisy input. Default 4. Example: 12."
    )
    out_channels: int = Field(
        default=4, ge=1, le=1024, description="Channels of the prediction. Default 4. Example: 12."
    )
    center_input_sample: bool = Field(default=False, description="Map inputs from [0, 1] to [-1, 1]. Default false.")
    flip_sin_to_cos: bool = Field(default=True, description="Cosine before sine in the time embedding. Default true.")
    freq_shift: int = Field(default=0, ge=-16, le=16, description="Frequency shift of the time embedding. Default 0.")
    down_block_types: list[BlockType] = Field(
        default=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        min_length=1,
        max_length=MAXIMUM_BLOCKS,
        description="Down block of each level. Example: [DownBlock2D, CrossAttnDownBlock2D].",
    )
    mid_block_type: str | None = Field(
        default="UNetMidBlock2DCrossAttn", max_length=64, description="Middle block. Default UNetMidBlock2DCrossAttn."
    )
    up_block_types: list[BlockType] = Field(
        default=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        min_length=1,
        max_length=MAXIMUM_BLOCKS,
        description="Up block of each level. Example: [CrossAttnUpBlock2D, UpBlock2D].",
    )
    only_cross_attention: bool = Field(
        default=False, description="Cross-attention in place of self-attention. Default false."
    )
    block_out_channels: list[Channels] = Field(
        default=[320, 640, 1280, 1280],
        min_length=1,
        max_length=MAXIMUM_BLOCKS,
        description="Channels of each level. Default [320, 640, 1280, 1280]. Example: [64, 128].",
    )
    layers_per_block: IntegerOrList = Field(
        default=2, description="Residual layers of a level, one or a list. Default 2."
    )
    downsample_padding: int = Field(default=1, ge=0, le=8, description="Padding of the downsampling layers. Default 1.")
    mid_block_scale_factor: float = Field(default=1.0, gt=0, le=16, description="Scale of the middle block. Default 1.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout inside residual blocks. Default 0. Example: 0.1."
    )
    act_fn: str = Field(default="silu", min_length=1, max_length=32, description="Activation. Default silu.")
    norm_num_groups: int | None = Field(
        default=32, ge=1, le=1024, description="Groups of group norm. Default 32. Example: 8."
    )
    norm_eps: float = Field(default=1e-5, gt=0, le=1, description="Epsilon of the norms. Default 1e-5.")
    cross_attention_dim: IntegerOrList = Field(
        default=1280, description="Width of the text encoder's hidden state, one or a list. Example: 768."
    )
    transformer_layers_per_block: IntegerOrList = Field(
        default=1, description="Transformer layers of an attention block, one or a list. Default 1."
    )
    attention_head_dim: IntegerOrList = Field(
        default=8, description="Number of attention heads (Diffusers' historical misnomer), one or a list. Default 8."
    )
    num_attention_heads: Annotated[int | list[int] | None, Field(json_schema_extra={"x-t2i-integer-or-list": True})] = (
        Field(default=None, description="Reserved by Diffusers; leave it out.")
    )
    dual_cross_attention: bool = Field(default=False, description="Two cross-attentions a block. Default false.")
    use_linear_projection: bool = Field(default=False, description="Linear in place of 1x1 projections. Default false.")
    class_embed_type: str | None = Field(default=None, max_length=64, description="Class embedding. Default none.")
    addition_embed_type: str | None = Field(
        default=None, max_length=64, description="Additional embedding. Default none. Example: text_time (SDXL)."
    )
    addition_time_embed_dim: int | None = Field(
        default=None, ge=1, le=16384, description="Width of the additional time embedding. Example: 256 (SDXL)."
    )
    num_class_embeds: int | None = Field(default=None, ge=1, le=1_000_000, description="Classes. Default none.")
    upcast_attention: bool = Field(default=False, description="Attention in fp32. Default false.")
    resnet_time_scale_shift: str = Field(
        default="default", max_length=32, description="How time enters residual blocks: default or scale_shift."
    )
    time_embedding_type: str = Field(default="positional", max_length=32, description="positional or fourier.")
    conv_in_kernel: int = Field(default=3, ge=1, le=15, description="Kernel of the input convolution. Default 3.")
    conv_out_kernel: int = Field(default=3, ge=1, le=15, description="Kernel of the output convolution. Default 3.")
    projection_class_embeddings_input_dim: int | None = Field(
        default=None, ge=1, le=65536, description="Input width of the class projection. Example: 2816 (SDXL)."
    )

    @classmethod
    def from_diffusers(cls, config: dict[str, Any]) -> "UNetConfig":
        """Build from a published Diffusers `config.json`: keys that begin with an underscore are its own notes."""
        return cls.model_validate({key: value for key, value in config.items() if not key.startswith("_")})

    def to_diffusers(self) -> dict[str, Any]:
        """Return the keyword arguments of `diffusers.UNet2DConditionModel`."""
        return self.model_dump(mode="python")
