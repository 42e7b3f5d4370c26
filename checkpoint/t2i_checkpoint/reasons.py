"""Why a verdict is what it is, as constants; faults of headers and manifests bring their own besides these. Pure."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """CamelCase, stable: they appear in conditions and in `-o json`."""

    NAMES_AND_SHAPES_MATCH = "NamesAndShapesMatch"
    NAMES_CONVERTIBLE = "NamesConvertible"
    MOST_PARAMETERS_MATCH = "MostParametersMatch"
    ADAPTER_WEIGHTS = "AdapterWeights"
    NAMES_DIFFER = "NamesDiffer"
    SHAPES_DIFFER = "ShapesDiffer"
    MODEL_CONFIG_DIFFERS = "ModelConfigDiffers"
    PREDICTION_TYPE_DIFFERS = "PredictionTypeDiffers"
    NOISE_SCHEDULE_DIFFERS = "NoiseScheduleDiffers"
    LATENT_SCALE_DIFFERS = "LatentScaleDiffers"
    NULL_EMBEDDING_DIFFERS = "NullEmbeddingDiffers"
    WEIGHTS_WITHOUT_RESUME_STATE = "WeightsWithoutResumeState"
    RESUME_STATE_OF_ANOTHER_PROGRAM = "ResumeStateOfAnotherProgram"
    NOT_LOADABLE = "NotLoadable"
    OPTIMIZER_DIFFERS = "OptimizerDiffers"
    EMA_DIFFERS = "EmaDiffers"
    RESUME_STATE_MISSING = "ResumeStateMissing"
    SEED_DIFFERS = "SeedDiffers"
    GLOBAL_BATCH_SIZE_DIFFERS = "GlobalBatchSizeDiffers"
    SAMPLES_SEEN_DIFFERS = "SamplesSeenDiffers"
    ARCHITECTURE_NOT_DERIVABLE = "ArchitectureNotDerivable"
    NO_WEIGHTS = "NoWeights"
    NOT_COMPARED = "NotCompared"


MEANING_REASONS = {
    "prediction_type": Reason.PREDICTION_TYPE_DIFFERS,
    "noise_schedule": Reason.NOISE_SCHEDULE_DIFFERS,
    "latent_scale": Reason.LATENT_SCALE_DIFFERS,
    "null_embedding_sha256": Reason.NULL_EMBEDDING_DIFFERS,
}
