"""The spec groups that say what is trained, and on what: model and data.

They are read alike by the API server (as a schema with CEL rules), the operator, the trainer and the command line.
Cross-field rules stand twice where a job can also be read without an API server: as CEL and as a validator.
"""

from enum import StrEnum
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from t2i_api.base import WireModel
from t2i_api.fields import SourceUri, rules
from t2i_api.presets import PRESETS
from t2i_api.spec_storage import InitialWeights
from t2i_api.unet_config import UNetConfig


class Preset(StrEnum):
    """UNets that a job can name; see `t2i_api.presets`."""

    STABLE_DIFFUSION_V1 = "stable-diffusion-v1"
    STABLE_DIFFUSION_V2 = "stable-diffusion-v2"
    TINY = "tiny"


class UNet(WireModel):
    """Which UNet is trained."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.preset) != has(self.config)",
                "model.unet needs exactly one of preset and config: write preset: tiny, or paste a Diffusers unet/config.json below config",
            ),
        )
    )

    preset: Preset | None = Field(
        default=None, description="A UNet by name. No default. Example: stable-diffusion-v1 (860 M parameters)."
    )
    config: UNetConfig | None = Field(
        default=None, description="The fields of a Diffusers unet/config.json, snake_case as there. No default."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.preset is None) == (self.config is None):
            raise ValueError("needs exactly one of preset and config")
        return self

    @property
    def resolved(self) -> UNetConfig:
        """The config that is meant, whichever way it was written."""
        if self.config is not None:
            return self.config
        return PRESETS[str(self.preset)]


class TextEncoder(WireModel):
    """The frozen encoder whose last hidden state conditions the UNet."""

    uri: SourceUri = Field(
        description="Folder with config.json, tokenizer and safetensors of a transformers model: s3:// in the job's store, hf:// or file://. "
        "Examples: s3://models/all-minilm-l6-v2, hf://openai/clip-vit-large-patch14."
    )
    max_tokens: int = Field(
        default=77, ge=1, le=1024, description="Tokens a caption is padded or cut to. Default 77. Example: 16."
    )


class Vae(WireModel):
    """The frozen autoencoder whose latents the UNet is trained on."""

    uri: SourceUri = Field(
        description="Folder with config.json and safetensors of a Diffusers AutoencoderKL or AutoencoderTiny: s3:// in the job's store, hf:// or file://. Examples: s3://models/sd-vae, hf://stabilityai/sd-vae-ft-mse."
    )
    scaling_factor: float = Field(
        default=0.18215,
        gt=0,
        le=100,
        description="Latents are multiplied by it; must be the scaling_factor of the autoencoder's own config.json. Default 0.18215. Examples: 0.13025 for SDXL, 1 for AutoencoderTiny.",
    )


class Model(WireModel):
    """What is trained."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.vae) || !has(self.pixelUnshuffleFactor) || !has(self.unet.config) || self.unet.config.in_channels == 3 * self.pixelUnshuffleFactor * self.pixelUnshuffleFactor",
                "model.unet.config.in_channels must be 3 x pixelUnshuffleFactor squared in pixel space: 3 for factor 1, 12 for factor 2, 48 for factor 4; a UNet of latents needs model.vae",
            ),
            (
                "has(self.vae) || !has(self.unet.preset) || self.unet.preset == 'tiny'",
                "model.unet.preset stable-diffusion-v1 and -v2 are UNets of latents: name their autoencoder in model.vae, or take preset tiny",
            ),
            (
                "!has(self.vae) || !has(self.pixelUnshuffleFactor) || self.pixelUnshuffleFactor == 1",
                "model.pixelUnshuffleFactor is for pixel space: remove it, or remove model.vae",
            ),
        )
    )

    unet: UNet = Field(description="The UNet: preset or config.")
    text_encoder: TextEncoder = Field(description="The frozen text encoder.")
    vae: Vae | None = Field(default=None, description="The frozen autoencoder. Default none: trained on pixels.")
    pixel_unshuffle_factor: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Pixels of a side that are folded into channels in pixel space: 2 turns 3x32x32 into 12x16x16. Default 1. Example: 2.",
    )
    initial_weights: InitialWeights | None = Field(
        default=None,
        description="Weights to begin with at step 0 when nothing in checkpoint.uri can be resumed. Default none: seeded random weights.",
    )

    @model_validator(mode="after")
    def _channels_fit(self) -> Self:
        if self.vae is not None:
            if self.pixel_unshuffle_factor != 1:
                raise ValueError("pixelUnshuffleFactor is for pixel space: remove it, or remove model.vae")
            return self
        wanted = 3 * self.pixel_unshuffle_factor**2
        got = self.unet.resolved.in_channels
        if got != wanted:
            raise ValueError(
                f"model.unet takes {got} channels, pixel space with pixelUnshuffleFactor {self.pixel_unshuffle_factor} gives {wanted}; a UNet of latents needs model.vae"
            )
        return self


class Data(WireModel):
    """Captioned pictures."""

    uri: SourceUri = Field(
        description="Captioned pictures in the job's store: a folder with a metadata.jsonl (HuggingFace imagefolder), with webdataset tars or with Parquet files, one such file, or shards that t2i data encode made. Example: s3://data/emoji."
    )
    resolution: int = Field(
        ge=8,
        le=4096,
        multiple_of=8,
        description="Side of the square training picture in pixels. No default. Example: 512.",
    )
    image_field: str = Field(
        default="file_name",
        min_length=1,
        max_length=64,
        description="Field of metadata.jsonl with the file's name; of Parquet the column with the picture or its file's name, image where there is no column file_name. Default file_name.",
    )
    caption_field: str = Field(
        default="text",
        min_length=1,
        max_length=64,
        description="Field of metadata.jsonl, of a tar's JSON or column of Parquet with the caption. Default text.",
    )
