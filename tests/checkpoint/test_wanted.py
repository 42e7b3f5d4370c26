"""A job's spec says exactly one thing about its checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

from t2i_api.job import JobSpec
from t2i_api.spec_training import NoiseSchedule, PredictionType
from t2i_checkpoint.unet import UnsupportedConfigError
from t2i_checkpoint.wanted import meaning_from, noise_schedule_text, wanted_from


def spec(unet: dict[str, Any], **diffusion: Any) -> JobSpec:
    return JobSpec.model_validate(
        {
            "model": {
                "unet": unet,
                "textEncoder": {"uri": "s3://bucket/encoder"},
                "pixelUnshuffleFactor": 2,
            },
            "data": {"uri": "s3://bucket/data", "resolution": 32},
            "diffusion": diffusion,
            "training": {"steps": 100, "globalBatchSize": 8, "learningRate": 1e-4},
            "checkpoint": {"uri": "s3://bucket/run", "everySteps": 10},
        }
    )


def test_a_presets_names_and_shapes_are_wanted() -> None:
    wanted = wanted_from(spec({"preset": "tiny"}))
    assert wanted.architecture.shape("conv_in.weight") == (64, 12, 3, 3)
    assert wanted.meaning.prediction_type == "v_prediction"
    assert wanted.meaning.noise_schedule == "squaredcos_cap_v2, 1000 timesteps"
    assert wanted.meaning.latent_scale == 1.0
    assert wanted.meaning.null_embedding_sha256 is None


def test_the_trainer_adds_the_null_embedding_that_it_knows() -> None:
    assert meaning_from(spec({"preset": "tiny"}), "ab" * 32).null_embedding_sha256 == "ab" * 32


def test_every_schedule_and_prediction_type_has_a_name_of_its_own() -> None:
    jobs = [
        spec({"preset": "tiny"}, schedule=name, zeroTerminalSnr=rescaled)
        for name in NoiseSchedule
        for rescaled in (False, True)
    ]
    assert len({noise_schedule_text(job.diffusion) for job in jobs}) == len(jobs)
    other = spec({"preset": "tiny"}, schedule="Linear", predictionType="Epsilon")
    assert meaning_from(other).prediction_type == "epsilon"
    assert len(PredictionType) == 2


def test_a_unet_that_cannot_be_derived_is_named() -> None:
    config = {"in_channels": 12, "out_channels": 12, "down_block_types": ["DownEncoderBlock2D"] * 4}
    with pytest.raises(UnsupportedConfigError, match=r"unet\.down_block_types = DownEncoderBlock2D"):
        wanted_from(spec({"config": config}))
