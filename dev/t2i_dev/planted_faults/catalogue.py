"""The planted faults: what people really get wrong, and the finding that must name it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from t2i_api.findings import FindingName
from t2i_dev.planted_faults import data_faults, diffusion_faults, model_faults
from t2i_dev.planted_faults.job import Setting

if TYPE_CHECKING:
    from t2i_dev.planted_faults.planting import Plant


@dataclass(frozen=True)
class PlantedFault:
    """One mistake: how it is made, in what run, and the finding that names it."""

    name: str
    how: str
    finding: FindingName
    plant: Plant
    setting: Setting = field(default_factory=Setting)


_TWO: Final = Setting(processes=2)
_PROFILES: Final = Setting(changes={"training": {"ema": {"decay": 0.99, "powerWidths": [0.05, 0.1], "everySteps": 4}}})

_DATA: Final = (
    PlantedFault(
        "wrong null embedding",
        "captions are dropped to zeros, pictures would be drawn with the embedding of the empty caption",
        FindingName.NULL_EMBEDDING_UNSEEN,
        data_faults.wrong_null_embedding,
    ),
    PlantedFault(
        "same noise on all ranks",
        "noise seeded by the step alone",
        FindingName.RANK_NOISE_EQUAL,
        data_faults.same_noise_on_all_ranks,
        _TWO,
    ),
    PlantedFault(
        "double VAE scaling",
        "what is trained on is multiplied by 0.18215 once more",
        FindingName.LATENT_SCALE,
        data_faults.double_scaling,
    ),
    PlantedFault(
        "shuffled captions",
        "captions permuted within each batch",
        FindingName.CAPTIONS_DO_NOT_HELP,
        data_faults.shuffled_captions,
    ),
    PlantedFault(
        "repeated data after resume",
        "killed after step 30, the feed begins at position 0 again",
        FindingName.REPEATED_DATA,
        data_faults.position_lost,
        Setting(resumes=True),
    ),
    PlantedFault(
        "NaN sample",
        "one number of one picture of step 21 is not a number",
        FindingName.NON_FINITE_STEP,
        data_faults.nan_sample,
    ),
    PlantedFault(
        "NaN samples for a while",
        "the same in steps 21 to 31, one more than may be left out",
        FindingName.ROLLED_BACK,
        data_faults.nan_samples,
        Setting(changes={"checkpoint": {"everySteps": 10}}),
    ),
    PlantedFault(
        "noise of half size", "noise has a variance of 0.25", FindingName.TARGET_SCALE, data_faults.half_noise
    ),
)

_DIFFUSION: Final = (
    PlantedFault(
        "cosine with epsilon",
        "the refusal of the pair was removed",
        FindingName.SCHEDULE_UNUSABLE,
        diffusion_faults.cosine_with_epsilon,
    ),
    PlantedFault(
        "another schedule than the spec's",
        "training uses Linear, the spec says Cosine",
        FindingName.SCHEDULE_MISMATCH,
        diffusion_faults.another_schedule,
    ),
    PlantedFault(
        "target of another sample",
        "the target is rolled by one within the batch",
        FindingName.TRIVIAL_ANSWER,
        diffusion_faults.target_of_another_sample,
    ),
    PlantedFault(
        "SNR weights of reversed timesteps",
        "each loss is weighted by min(1/SNR, 5), so that little noise is hardly learnt from",
        FindingName.QUARTILE_STUCK,
        diffusion_faults.weights_of_reversed_timesteps,
    ),
)

_MODEL: Final = (
    PlantedFault(
        "output layer that cannot move",
        "zero-initialised conv_out whose gradient is multiplied by zero",
        FindingName.OUTPUT_LAYER_STUCK,
        model_faults.output_layer_cannot_move,
    ),
    PlantedFault(
        "output layer initialised too large",
        "weights of conv_out ten times as large",
        FindingName.INITIAL_LOSS,
        model_faults.output_too_large,
    ),
    PlantedFault(
        "frozen weights",
        "requires_grad=False on the down blocks",
        FindingName.FROZEN_WEIGHTS,
        model_faults.frozen_weights,
    ),
    PlantedFault(
        "captions never arrive",
        "the UNet is called with zeros for text",
        FindingName.CAPTIONS_IGNORED,
        model_faults.captions_never_arrive,
    ),
    PlantedFault(
        "optimizer of a copy",
        "the optimizer holds copies of the parameters",
        FindingName.NO_WEIGHT_MOVES,
        model_faults.optimizer_of_a_copy,
    ),
    PlantedFault(
        "EMA never stepped", "ema.update does nothing", FindingName.EMA_STUCK, model_faults.average_never_stepped
    ),
    PlantedFault(
        "power profiles never stepped",
        "ema.update passes over the averages of ema.powerWidths",
        FindingName.EMA_STUCK,
        model_faults.profiles_never_stepped,
        _PROFILES,
    ),
    PlantedFault(
        "dropped gradient all-reduce",
        "the model is not wrapped by DDP",
        FindingName.RANK_WEIGHTS_DIFFER,
        model_faults.dropped_gradient_exchange,
        _TWO,
    ),
    PlantedFault(
        "learning rate times world size",
        "the rate is multiplied by the number of processes",
        FindingName.LEARNING_RATE,
        model_faults.rate_times_world_size,
        _TWO,
    ),
)

FAULTS: Final = (*_DATA, *_DIFFUSION, *_MODEL)


@dataclass(frozen=True)
class HealthyRun:
    """A run without a fault, of which nothing may be said."""

    name: str
    setting: Setting


_SEEDS: Final = 5
# What a job may ask for beside the defaults, in runs that are as healthy.
_OTHERS: Final = (
    HealthyRun("two processes", _TWO),
    HealthyRun(
        "two processes that share the model", Setting(processes=2, changes={"training": {"parallelism": "FullShard"}})
    ),
    HealthyRun("resumed after step 30", Setting(resumes=True)),
    HealthyRun(
        "epsilon, scaled linear",
        Setting(changes={"diffusion": {"schedule": "ScaledLinear", "predictionType": "Epsilon"}}),
    ),
    HealthyRun(
        "zero terminal SNR",
        Setting(changes={"diffusion": {"schedule": "ScaledLinear", "zeroTerminalSnr": True}}),
    ),
    HealthyRun("min-SNR weights", Setting(changes={"diffusion": {"minSnrGamma": 5}})),
    HealthyRun("power profiles, averages every fourth step", _PROFILES),
    HealthyRun("offset noise", Setting(changes={"diffusion": {"offsetNoise": 0.1}})),
)

HEALTHY: Final = (*(HealthyRun(f"seed {seed}", Setting(seed=seed)) for seed in range(_SEEDS)), *_OTHERS)
