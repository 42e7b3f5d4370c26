"""The schedules, written a second time, are those of Diffusers; another one, or an unusable one, is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from t2i_api.spec_training import Diffusion, NoiseSchedule, PredictionType
from t2i_trainer.diffusion import ForwardProcess
from t2i_trainer.sanity.schedule import alphas_cumprod, judge_schedule

CPU = torch.device("cpu")
LINEAR = {"schedule": "Linear", "predictionType": "Epsilon"}
SCALED = {"schedule": "ScaledLinear", "predictionType": "Epsilon"}
COSINE = {"schedule": "Cosine", "predictionType": "VPrediction"}
ZERO = {"schedule": "ScaledLinear", "predictionType": "VPrediction", "zeroTerminalSnr": True}


@pytest.mark.parametrize("wire", [LINEAR, SCALED, COSINE, ZERO])
def test_our_second_writing_of_the_schedules_is_the_one_of_diffusers(wire: dict[str, Any]) -> None:
    diffusion = Diffusion.model_validate(wire)
    used = ForwardProcess(diffusion, CPU).alphas_cumprod.double().numpy()
    assert np.abs(used - alphas_cumprod(diffusion)).max() < 1e-4
    assert judge_schedule(used, diffusion) == []


def test_epsilon_on_the_cosine_schedule_and_another_schedule_than_the_specs_are_named() -> None:
    removed = Diffusion.model_validate(COSINE).model_copy(update={"prediction_type": PredictionType.EPSILON})
    assert [each.name for each in judge_schedule(alphas_cumprod(removed), removed)] == ["ScheduleUnusable"]
    spec = Diffusion.model_validate(COSINE)
    scheduler_class: Any = DDPMScheduler
    (finding,) = judge_schedule(scheduler_class(beta_schedule="linear").alphas_cumprod.double().numpy(), spec)
    assert (finding.name, finding.step) == ("ScheduleMismatch", 0)
    assert NoiseSchedule.COSINE in finding.sentence
