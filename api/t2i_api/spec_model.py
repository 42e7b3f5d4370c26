"""The spec groups that say what is trained: model, data, diffusion, training and sampling.

They are read alike by the API server (as a schema with CEL rules), the operator, the trainer and the command line.
Cross-field rules stand twice where a job can also be read without an API server: as CEL and as a validator.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from t2i_api.base import WireModel
from t2i_api.fields import LocationUri, rules
from t2i_api.presets import PRESETS
from t2i_api.spec_storage import InitialWeights
from t2i_api.unet_config import UNetConfig

IMMUTABLE_BECAUSE = "cannot change while the job exists: a checkpoint would no longer fit it. Create a job of another name with its own checkpoint.uri instead"


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

    uri: LocationUri = Field(
        description="Folder with config.json, tokenizer and safetensors of a transformers model, in the job's store. "
        "Example: s3://models/all-minilm-l6-v2."
    )
    max_tokens: int = Field(
        default=77, ge=1, le=1024, description="Tokens a caption is padded or cut to. Default 77. Example: 16."
    )


class Vae(WireModel):
    """The frozen autoencoder whose latents the UNet is trained on."""

    uri: LocationUri = Field(
        description="Folder with config.json and safetensors of a Diffusers AutoencoderKL, in the job's store. Example: s3://models/sd-vae."
    )
    scaling_factor: float = Field(
        default=0.18215,
        gt=0,
        le=100,
        description="Latents are multiplied by it (Diffusers' scaling_factor). Default 0.18215. Example: 0.13025 for SDXL.",
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

    uri: LocationUri = Field(
        description="Folder of pictures with a metadata.jsonl (HuggingFace imagefolder), in the job's store. Example: s3://data/emoji."
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
        description="Field of metadata.jsonl with the file's name. Default file_name.",
    )
    caption_field: str = Field(
        default="text",
        min_length=1,
        max_length=64,
        description="Field of metadata.jsonl with the caption. Default text.",
    )


class NoiseSchedule(StrEnum):
    """How noise grows over the timesteps (Diffusers' names: linear, scaled_linear, squaredcos_cap_v2)."""

    LINEAR = "Linear"
    SCALED_LINEAR = "ScaledLinear"
    COSINE = "Cosine"


class PredictionType(StrEnum):
    """What the UNet predicts (Salimans & Ho 2022 for velocity)."""

    EPSILON = "Epsilon"
    V_PREDICTION = "VPrediction"


class Diffusion(WireModel):
    """The forward process and what is learnt of it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(self.schedule == 'Cosine' && self.predictionType == 'Epsilon')",
                "diffusion.schedule Cosine with predictionType Epsilon is unstable near pure noise: set diffusion.predictionType to VPrediction",
            ),
        )
    )

    schedule: NoiseSchedule = Field(
        default=NoiseSchedule.COSINE, description="Noise schedule: Linear, ScaledLinear or Cosine. Default Cosine."
    )
    prediction_type: PredictionType = Field(
        default=PredictionType.V_PREDICTION, description="Epsilon or VPrediction. Default VPrediction."
    )
    train_timesteps: int = Field(
        default=1000, ge=10, le=10000, description="Timesteps of the forward process. Default 1000."
    )
    conditioning_dropout: float = Field(
        default=0.1,
        ge=0,
        le=0.9,
        description="Share of samples trained with the null embedding, for classifier-free guidance. Default 0.1.",
    )

    @model_validator(mode="after")
    def _stable(self) -> Self:
        if self.schedule is NoiseSchedule.COSINE and self.prediction_type is PredictionType.EPSILON:
            raise ValueError("schedule Cosine needs predictionType VPrediction: epsilon is unstable near pure noise")
        return self


class Precision(StrEnum):
    """Arithmetic of forward and backward pass; weights and optimizer stay in fp32."""

    FP32 = "FP32"
    BF16 = "BF16"


class ExponentialMovingAverage(WireModel):
    """The averaged weights that samples are drawn from."""

    decay: float = Field(default=0.9999, ge=0, lt=1, description="Decay a step. Default 0.9999. Example: 0.999.")


class Training(WireModel):
    """How long and how fast it is trained."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.warmupSteps <= self.steps",
                "training.warmupSteps must not exceed training.steps: lower warmupSteps or train longer",
            ),
            (
                "self.steps >= oldSelf.steps",
                "training.steps can only grow: to stop earlier set suspend: true, or delete the job (its checkpoints stay in the bucket)",
            ),
            ("self.seed == oldSelf.seed", f"training.seed {IMMUTABLE_BECAUSE}"),
            ("self.globalBatchSize == oldSelf.globalBatchSize", f"training.globalBatchSize {IMMUTABLE_BECAUSE}"),
        )
    )

    steps: int = Field(
        ge=1, le=100_000_000, description="Optimizer steps of the whole run. No default. Example: 500000."
    )
    global_batch_size: int = Field(
        ge=1, le=1_048_576, description="Images of one optimizer step over all processes. No default. Example: 256."
    )
    learning_rate: float = Field(
        gt=0,
        le=1,
        description="Peak learning rate of AdamW. No default. Example: 1e-4 (write 0.0001 in strict YAML 1.1).",
    )
    warmup_steps: int = Field(
        default=0, ge=0, le=10_000_000, description="Steps of linear warm-up from 0. Default 0. Example: 1000."
    )
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="Decoupled weight decay of AdamW. Default 0.01.")
    gradient_clip: float = Field(
        default=1.0, gt=0, le=1000, description="Largest gradient norm; larger ones are scaled down. Default 1."
    )
    precision: Precision = Field(default=Precision.FP32, description="FP32 or BF16. Default FP32. Example: BF16.")
    ema: ExponentialMovingAverage = Field(
        default=ExponentialMovingAverage(), description="Exponential moving average of the weights."
    )
    seed: int = Field(
        default=0, ge=0, le=2_147_483_647, description="Seed of initialisation, sample order and noise. Default 0."
    )

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_steps > self.steps:
            raise ValueError("warmupSteps must not exceed steps")
        return self


Prompt = Annotated[str, Field(min_length=1, max_length=1024)]


class Sampling(WireModel):
    """Pictures drawn while training, from the EMA weights."""

    prompts: list[Prompt] = Field(
        default=[],
        max_length=64,
        description="Captions to draw. Default none. Example: ['red heart on a white background'].",
    )
    every_steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Steps between sample grids; absent: only at the end. Example: 5000.",
    )
    guidance_scale: float = Field(
        default=5.0, ge=0, le=50, description="Classifier-free guidance scale. Default 5. Example: 1.5 in pixel space."
    )
    inference_steps: int = Field(default=20, ge=1, le=1000, description="Steps of DPM-Solver++. Default 20.")
