"""The spec groups that say how it is trained: diffusion, training and sampling.

Cross-field rules stand twice, as CEL for the API server and as a validator for a job that is read without one.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from t2i_api.base import WireModel
from t2i_api.fields import IMMUTABLE_BECAUSE, rules


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
            (
                "!self.zeroTerminalSnr || self.predictionType == 'VPrediction'",
                "diffusion.zeroTerminalSnr needs predictionType VPrediction: at pure noise epsilon says nothing of the picture. Set diffusion.predictionType to VPrediction, or remove zeroTerminalSnr",
            ),
            (
                "!(self.zeroTerminalSnr && self.offsetNoise > 0.0)",
                "diffusion.offsetNoise with zeroTerminalSnr trains on other starting noise than sampling draws: remove offsetNoise, zeroTerminalSnr alone gives very dark and very bright pictures",
            ),
            (
                "!(self.zeroTerminalSnr && has(self.minSnrGamma))",
                "diffusion.minSnrGamma with zeroTerminalSnr never trains the last timestep, where sampling starts: its SNR is 0, and so is its weight. Remove diffusion.minSnrGamma or zeroTerminalSnr",
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
    min_snr_gamma: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Weighs each sample's loss by min(SNR, gamma) (Hang et al. 2023), so that timesteps of little noise do not drown the others; not with zeroTerminalSnr. Default none: all alike. Example: 5.",
    )
    zero_terminal_snr: bool = Field(
        default=False,
        description="Rescales the schedule so that the last timestep is pure noise and samples start there (Lin et al. 2023); needs VPrediction and no minSnrGamma. Default false. Example: true.",
    )
    offset_noise: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Strength of noise that is constant over a channel, added to each sample's noise. Default 0. Example: 0.1.",
    )

    @model_validator(mode="after")
    def _stable(self) -> Self:
        if self.schedule is NoiseSchedule.COSINE and self.prediction_type is PredictionType.EPSILON:
            raise ValueError("schedule Cosine needs predictionType VPrediction: epsilon is unstable near pure noise")
        if self.zero_terminal_snr and self.prediction_type is PredictionType.EPSILON:
            raise ValueError(
                "zeroTerminalSnr needs predictionType VPrediction: at pure noise epsilon says nothing of the picture"
            )
        if self.zero_terminal_snr and self.offset_noise > 0:
            raise ValueError("offsetNoise with zeroTerminalSnr trains on other starting noise than sampling draws")
        if self.zero_terminal_snr and self.min_snr_gamma is not None:
            raise ValueError(
                "minSnrGamma with zeroTerminalSnr never trains the last timestep, where sampling starts: remove one of them"
            )
        return self


class Precision(StrEnum):
    """Arithmetic of forward and backward pass; weights and optimizer stay in fp32."""

    FP32 = "FP32"
    BF16 = "BF16"


class Compile(StrEnum):
    """How the UNet is run. YAML 1.1 would read `Off` as a boolean, so it is not a value."""

    EAGER = "Eager"
    WHOLE_GRAPH = "WholeGraph"


class Parallelism(StrEnum):
    """What each process holds of the model."""

    DATA_PARALLEL = "DataParallel"
    FULL_SHARD = "FullShard"


class Tracker(StrEnum):
    """Where metrics are also sent, through Accelerate."""

    TENSOR_BOARD = "TensorBoard"
    WAND_B = "WandB"
    ML_FLOW = "MLflow"


PowerWidth = Annotated[float, Field(gt=0, le=0.28)]


class ExponentialMovingAverage(WireModel):
    """The averaged weights that samples are drawn from."""

    decay: float = Field(default=0.9999, ge=0, lt=1, description="Decay a step. Default 0.9999. Example: 0.999.")
    power_widths: list[PowerWidth] = Field(
        default=[],
        max_length=3,
        description="Widths sigma_rel of power-function averages kept beside the classic one (Karras et al. 2024), from which `t2i ema reconstruct` makes any other width afterwards. Default none. Example: [0.05, 0.10].",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    every_steps: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="Steps between updates of the averages; the decay is raised to that power. Default 1. Example: 8.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.power_widths)) < len(self.power_widths):
            raise ValueError("powerWidths holds a width twice")
        return self


class Training(WireModel):
    """How long and how fast it is trained."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.warmupSteps <= self.steps",
                "training.warmupSteps must not exceed training.steps: lower warmupSteps or train longer",
            ),
            (
                "!(self.compile == 'WholeGraph' && self.parallelism == 'FullShard')",
                "training.parallelism FullShard gathers weights block by block, which training.compile WholeGraph cannot see as one graph: set training.compile to Eager",
            ),
            (
                "self.steps >= oldSelf.steps",
                "training.steps can only grow: to stop earlier set suspend: true, or delete the job (its checkpoints stay in the bucket)",
            ),
            ("self.seed == oldSelf.seed", f"training.seed {IMMUTABLE_BECAUSE}"),
            ("self.globalBatchSize == oldSelf.globalBatchSize", f"training.globalBatchSize {IMMUTABLE_BECAUSE}"),
            (
                "!has(self.microBatchSize) || self.microBatchSize <= self.globalBatchSize",
                "training.microBatchSize must not exceed training.globalBatchSize: lower it, or remove it",
            ),
            (
                "has(self.ema.powerWidths) == has(oldSelf.ema.powerWidths) && (!has(self.ema.powerWidths) || self.ema.powerWidths == oldSelf.ema.powerWidths)",
                f"training.ema.powerWidths {IMMUTABLE_BECAUSE}",
            ),
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
    micro_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="Images of one forward pass of one process; the gradients of a step's passes are added up. It must divide a process's share of globalBatchSize. Default: the whole share. Example: 16.",
    )
    warmup_steps: int = Field(
        default=0, ge=0, le=10_000_000, description="Steps of linear warm-up from 0. Default 0. Example: 1000."
    )
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="Decoupled weight decay of AdamW. Default 0.01.")
    gradient_clip: float = Field(
        default=1.0, gt=0, le=1000, description="Largest gradient norm; larger ones are scaled down. Default 1."
    )
    precision: Precision = Field(default=Precision.FP32, description="FP32 or BF16. Default FP32. Example: BF16.")
    compile: Compile = Field(
        default=Compile.EAGER,
        description="Eager, or WholeGraph: torch.compile of the UNet with fixed shapes, whose cache outlives a restart on the same node. Default Eager. Example: WholeGraph.",
    )
    parallelism: Parallelism = Field(
        default=Parallelism.DATA_PARALLEL,
        description="DataParallel: every process holds the whole model (DDP). FullShard: weights, gradients, averages and moments are spread over all processes (FSDP2), for models that do not fit on one GPU; needs compile Eager. Checkpoints are the same: it may change from attempt to attempt. Default DataParallel. Example: FullShard.",
    )
    ema: ExponentialMovingAverage = Field(
        default=ExponentialMovingAverage(), description="Exponential moving averages of the weights."
    )
    trackers: list[Tracker] = Field(
        default=[],
        max_length=3,
        description="Where metrics are sent besides metrics.jsonl and Prometheus: TensorBoard, WandB, MLflow. Default none. Example: [TensorBoard].",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    seed: int = Field(
        default=0, ge=0, le=2_147_483_647, description="Seed of initialisation, sample order and noise. Default 0."
    )

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_steps > self.steps:
            raise ValueError("warmupSteps must not exceed steps")
        if self.compile is Compile.WHOLE_GRAPH and self.parallelism is Parallelism.FULL_SHARD:
            raise ValueError(
                "parallelism FullShard gathers weights block by block: set compile to Eager, not WholeGraph"
            )
        if self.micro_batch_size is not None and self.micro_batch_size > self.global_batch_size:
            raise ValueError("microBatchSize must not exceed globalBatchSize")
        if len(set(self.trackers)) < len(self.trackers):
            raise ValueError("trackers holds one twice")
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
