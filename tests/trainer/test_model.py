"""The UNet is the one that the operator judges by, the same on every rank, and fits its text encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from t2i_api.progress import ExitCode
from t2i_checkpoint.wanted import wanted_from
from t2i_trainer.checkpointing.state import weights_sha256
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import architecture_of, build_unet, check_text_width

if TYPE_CHECKING:
    from t2i_api.job import JobSpec

CPU = torch.device("cpu")


def with_seed(spec: JobSpec, seed: int) -> JobSpec:
    return spec.model_copy(update={"training": spec.training.model_copy(update={"seed": seed})})


def test_names_and_shapes_are_those_of_the_verdict(job_spec: JobSpec) -> None:
    wanted = wanted_from(job_spec).architecture
    built = architecture_of(build_unet(job_spec, CPU))
    assert built.names == wanted.names
    assert built.fingerprint() == wanted.fingerprint()


def test_initial_weights_are_a_function_of_the_seed(job_spec: JobSpec) -> None:
    hashes = []
    for seed in (1, 1, 2):
        torch.rand(3)  # whatever was drawn before must not matter
        hashes.append(weights_sha256(build_unet(with_seed(job_spec, seed), CPU)))
    assert hashes[0] == hashes[1]
    assert hashes[1] != hashes[2]


def test_a_text_encoder_of_another_width_is_refused(job_spec: JobSpec) -> None:
    check_text_width(job_spec, 16)
    with pytest.raises(TrainerError, match=r"vectors of 768 numbers.*cross_attention_dim 16") as caught:
        check_text_width(job_spec, 768)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION
