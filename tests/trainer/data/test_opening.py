"""What a run trains on directly: the same samples whether `data.uri` names a folder or one Parquet file of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pyarrow import parquet
from tests.trainer.data.parquet_files import table_of

from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.data.opening import Opener, TrainingData
from t2i_trainer.errors import TrainerError
from t2i_trainer.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CPU = torch.device("cpu")


def train_on(workshop: Any, uri: str, run_directory: Path) -> TrainingData:
    """Open a data URI as a process alone in its pod does."""
    document = workshop.spec.to_wire()
    document["data"]["uri"] = uri
    job = DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=JobSpec.model_validate(document))
    encoders = workshop.encoders
    return Opener(
        RunConfiguration(job, ALONE, "cpu", run_directory),
        World(Accelerator(cpu=True), rank=0, local_rank=0, size=1, device=CPU),
        workshop.models,
        encoders.text,
        encoders.null_embedding,
        encoders.vae,
    ).open()


def test_an_encoding_at_the_start_says_how_far_it_is(
    make_workshop: Callable[[str], Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Regression: a set that takes hours to encode gave one line and then nothing."""
    workshop = make_workshop("latents")
    monkeypatch.setattr("t2i_trainer.data.encode_progress._SECONDS_BETWEEN_LINES", 0)
    with caplog.at_level(logging.INFO, "t2i_trainer"):
        train_on(workshop, f"file://{workshop.source}", tmp_path / "run")
    assert any(line.startswith("encoded 10 of 10 samples, ") for line in caplog.messages)


@pytest.mark.parametrize("space", ["pixels", "latents"])
def test_a_broken_picture_ends_the_start_with_what_to_do(
    make_workshop: Callable[[str], Any], tmp_path: Path, space: str
) -> None:
    workshop = make_workshop(space)
    (workshop.source / "green-circle.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(
        TrainerError, match=r"green-circle\.png is no .* with `t2i data encode --skip-broken`"
    ) as caught:
        train_on(workshop, f"file://{workshop.source}", tmp_path / "run")
    assert caught.value.code is ExitCode.DATA_INVALID


@pytest.mark.parametrize("space", ["pixels", "latents"])
def test_one_parquet_file_is_what_the_folder_is(
    make_workshop: Callable[[str], Any], tmp_path: Path, space: str
) -> None:
    workshop = make_workshop(space)
    parquet.write_table(table_of(workshop.source), tmp_path / "train.parquet")
    folder = train_on(workshop, f"file://{workshop.source}", tmp_path / "one")
    file = train_on(workshop, f"file://{tmp_path}/train.parquet", tmp_path / "other")
    rows = np.arange(len(folder))
    assert len(file) == len(folder) == 10
    assert torch.equal(file.samples.take(rows).stored, folder.samples.take(rows).stored)
    assert torch.allclose(
        file.samples.take(rows).texts, folder.samples.take(rows).texts, atol=1e-3
    )  # float16 in shards
    assert train_on(workshop, f"file://{tmp_path}/train.parquet", tmp_path / "again").sha256 == file.sha256
