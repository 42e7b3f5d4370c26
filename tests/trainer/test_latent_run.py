"""A run in latent space, from pictures to the model that its user downloads."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tests.trainer.stock_diffusers import drawn_by, readme_code

from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_trainer.here import train_here
from t2i_trainer.pipeline import model_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_checkpoint.store import Store

STEPS = 3


@pytest.mark.exhaustive
def test_its_pictures_are_decoded_and_stock_diffusers_draws_the_same_from_the_finished_model(  # noqa: PLR0913, PLR0917  # fixtures
    job_spec: JobSpec,
    text_encoder_folder: Path,
    make_vae: Callable[[Path, str], None],
    write_dataset: Callable[[Store], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "encoder").symlink_to(text_encoder_folder)
    make_vae(tmp_path / "vae", "AutoencoderKL")
    write_dataset(LocalStore(tmp_path / "data"))
    document = job_spec.to_wire()
    document["model"]["unet"]["config"].update({"in_channels": 4, "out_channels": 4})
    document["model"].pop("pixelUnshuffleFactor")
    document["model"]["vae"] = {"uri": f"file://{tmp_path}/vae", "scalingFactor": 0.5}
    document["training"]["steps"] = STEPS
    job = DiffusionTrainingJob(metadata=ObjectMetadata(name="latents"), spec=JobSpec.model_validate(document))

    assert train_here(job).exit_code is ExitCode.SUCCEEDED

    bucket = tmp_path / "bucket"
    with Image.open(io.BytesIO((bucket / layout.sample_folder(STEPS) / "0000.png").read_bytes())) as picture:
        ours = np.asarray(picture).astype(int)
    side = job_spec.data.resolution
    assert ours.shape == (side, side, 3)
    assert ours.std() > 5, "a picture of one colour would prove nothing"
    assert np.abs(drawn_by(readme_code(bucket / model_folder(STEPS))) - ours).max() <= 1  # other thread counts round
