"""Whole runs that share their model: they skip, go back, evaluate, draw, save, resume and finish as any run does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.trainer.sharding.attempts import SPOILT

from t2i_api.spec_training import Parallelism
from t2i_checkpoint import layout
from t2i_trainer.pipeline import model_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.sharding.attempts import Run
    from tests.trainer.sharding.conftest import Runs

pytestmark = pytest.mark.exhaustive  # test_sharding.py samples it

STEPS, BRANCH = 12, 9
ROUNDING = 1e-5  # relative; see test_sharding.py


def losses(run: Run, first: int = 1) -> list[float]:
    return [row["loss"] for step, row in sorted(run.rows().items()) if step >= first and row["loss"] is not None]


def said(run: Run, finding: str) -> list[int]:
    return [step for step, row in run.rows().items() if finding in {each["name"] for each in row.get("findings", ())}]


def test_losses_and_evaluation_are_those_of_the_run_that_holds_the_model_whole(runs: Runs) -> None:
    sharded, whole = runs.sharded.rows(), runs.whole.rows()
    assert list(sharded) == list(whole) == list(range(1, STEPS + 1))
    assert losses(runs.sharded) == pytest.approx(losses(runs.whole), rel=ROUNDING)
    assert losses(runs.sharded) != losses(runs.whole), "nothing was shared: other convolutions end in other last bits"
    evaluated = {step: row["evaluation"] for step, row in whole.items() if "evaluation" in row}
    assert len(evaluated) > 2
    for step, evaluation in evaluated.items():
        assert sharded[step]["evaluation"] == pytest.approx(evaluation, rel=0.01, abs=1e-4), step


def test_both_skip_the_bad_steps_and_go_back(runs: Runs) -> None:
    for run in (runs.sharded, runs.whole):
        assert [step for step, row in run.rows().items() if row["loss"] is None] == list(SPOILT)
        assert said(run, "RolledBack") == [SPOILT[-1]]


def test_the_gate_says_the_same_of_both(runs: Runs) -> None:
    found = [
        [(step, each["name"]) for step, row in run.rows().items() for each in row.get("findings", ())]
        for run in (runs.sharded, runs.whole)
    ]
    assert found[0] == found[1]


def test_manifests_tell_the_same_but_for_hashes(runs: Runs) -> None:
    for step in range(3, STEPS + 1, 3):
        sharded, whole = (json.loads(run.manifest(step).to_json()) for run in (runs.sharded, runs.whole))
        for manifest in (sharded, whole):
            assert [rank.pop("rank") for rank in manifest["ranks"]] == [0, 1]
            assert len({rank.pop("weightsSha256") for rank in manifest["ranks"]}) == 1
            manifest.pop("createdAt")
            for file in manifest["files"]:
                file.pop("sha256")
                if file["path"] == layout.TRAINER_STATE:
                    file.pop("size")  # it spells a loss
        assert sharded == whole


def test_files_hold_the_same_tensors_but_for_rounding(runs: Runs) -> None:
    files = {file.path for file in runs.whole.manifest(STEPS).files if file.path.endswith(".safetensors")}
    assert len(files) == 5  # weights, average, power profile, moments, null embedding
    for path in files:
        sharded, whole = (load_file(run.checkpoint(STEPS) / path) for run in (runs.sharded, runs.whole))
        assert list(sharded) == list(whole)
        for name, tensor in whole.items():
            torch.testing.assert_close(sharded[name], tensor, rtol=0.01, atol=1e-3, msg=f"{path} {name}")


def test_every_prompt_is_drawn(runs: Runs) -> None:
    folders = [run.bucket / layout.sample_folder(STEPS) for run in (runs.sharded, runs.whole)]
    for name in ("0000.png", "0001.png", "0002.png"):
        sharded, whole = (np.asarray(Image.open(folder / name)).astype(int) for folder in folders)
        assert np.abs(sharded - whole).max() <= 3


def test_the_finished_model_is_the_average_under_diffusers_own_name(runs: Runs) -> None:
    unet = runs.sharded.bucket / model_folder(STEPS) / "unet"
    assert json.loads((unet / "config.json").read_text())["_class_name"] == "UNet2DConditionModel"
    index = json.loads((unet.parent / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    finished = load_file(unet / "diffusion_pytorch_model.safetensors")
    average = load_file(runs.sharded.checkpoint(STEPS) / layout.EMA_WEIGHTS)
    assert finished.keys() == average.keys()
    assert all(torch.equal(finished[name], average[name]) for name in average)


@pytest.mark.parametrize(
    ("origin", "size", "parallelism"),
    [
        ("sharded", 2, Parallelism.FULL_SHARD),
        ("sharded", 2, Parallelism.DATA_PARALLEL),
        ("sharded", 1, Parallelism.DATA_PARALLEL),
        ("sharded", 1, Parallelism.FULL_SHARD),
        ("sharded", 3, Parallelism.FULL_SHARD),
        ("whole", 2, Parallelism.FULL_SHARD),
    ],
)
def test_any_world_resumes_what_any_other_saved(
    runs: Runs, origin: str, size: int, parallelism: Parallelism, tmp_path: Path
) -> None:
    """Three processes share tensors that do not divide by three."""
    undisturbed: Run = getattr(runs, origin)
    run, name = undisturbed.branch(BRANCH, tmp_path)
    job: dict[str, Any] = runs.job(parallelism)
    run.train(job, attempt=2, size=size, resume_from=name)
    expected = losses(undisturbed, BRANCH + 1)
    if (origin, size, parallelism) == ("sharded", 2, Parallelism.FULL_SHARD):
        assert losses(run, BRANCH + 1) == expected, "the same bits"
    assert losses(run, BRANCH + 1) == pytest.approx(expected, rel=ROUNDING)
    assert run.manifest(STEPS).architecture_fingerprint == undisturbed.manifest(STEPS).architecture_fingerprint
