"""What a run leaves in the bucket: the newest checkpoints, pictures, weights that stock Diffusers opens."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from diffusers import UNet2DConditionModel
from PIL import Image
from tests.trainer.stock_diffusers import drawn_by, readme_code

from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.ema_snapshots import stored_profiles
from t2i_trainer.checkpointing.retention import retired_mark
from t2i_trainer.pipeline import FILES, INDEX, model_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.trainer.resume.conftest import Cluster, Story


def test_only_the_newest_checkpoints_are_kept(story: Story) -> None:
    assert [manifest.step for manifest in story.undisturbed.manifests()] == [story.steps - story.every, story.steps]
    assert len(story.disturbed.manifests()) == 2


def test_averages_of_all_saves_are_kept_and_no_kill_or_resume_changes_one(story: Story) -> None:
    undisturbed, disturbed = (
        {each.step: each.sha256 for each in stored_profiles(cluster.store)}
        for cluster in (story.undisturbed, story.disturbed)
    )
    assert list(undisturbed) == list(range(story.every, story.steps + 1, story.every))
    shared = undisturbed.keys() & disturbed.keys()
    assert {story.steps - story.every, story.steps} <= shared
    assert len(shared) >= len(undisturbed) - 1  # one may be superfluous beside the one of the stop
    assert {step: disturbed[step] for step in shared} == {step: undisturbed[step] for step in shared}


@pytest.mark.exhaustive
def test_a_deletion_and_a_finished_model_that_were_cut_off_are_completed_by_the_next_attempt(
    story: Story, cluster_at: Callable[..., Cluster], tmp_path: Path
) -> None:
    shutil.copytree(story.undisturbed.folder / "bucket", tmp_path / "bucket")
    again = cluster_at(tmp_path)
    older, newest = (layout.checkpoint_folder(each.step, each.writer) for each in again.manifests())
    mark = retired_mark(again.newest())
    again.store.create(f"{older}/{layout.RETIRED}", json.dumps(mark).encode())
    again.store.delete([f"{older}/{layout.MANIFEST}", f"{older}/{layout.WEIGHTS}"])
    model = model_folder(story.steps)
    again.store.delete([f"{model}/{INDEX}", f"{model}/README.md"])
    resume_from = newest.removeprefix(layout.CHECKPOINTS)
    (pod,) = again.start(2, workers=1, processes=1, resume_from=resume_from)
    pod.expect(ExitCode.SUCCEEDED)
    assert {info.key.split("/")[1] for info in again.store.list(layout.CHECKPOINTS)} == {resume_from}
    for name in (INDEX, FILES, "README.md"):  # FILES.json holds the hash of every weight
        assert again.store.read(f"{model}/{name}") == story.undisturbed.store.read(f"{model}/{name}")


def test_the_finished_model_draws_the_runs_last_pictures_in_stock_diffusers(story: Story) -> None:
    code = readme_code(story.undisturbed.folder / "bucket" / model_folder(story.steps))
    with Image.open(io.BytesIO(story.undisturbed.store.read(f"{layout.sample_folder(story.steps)}/0000.png"))) as drawn:
        ours = np.asarray(drawn).astype(int)
    assert np.abs(drawn_by(code) - ours).max() <= 1  # the run had another number of threads


def test_pictures_are_drawn_at_the_end_and_are_the_same(story: Story) -> None:
    folder = layout.sample_folder(story.steps)
    names = [f"{folder}/{name}" for name in ("0000.png", "0001.png", "grid.png")]
    for name in names:
        content = story.undisturbed.store.read(name)
        assert content.startswith(b"\x89PNG")
        assert content == story.disturbed.store.read(name)


def test_weights_open_in_stock_diffusers(story: Story, tmp_path: Path) -> None:
    store, name = story.undisturbed.store, story.undisturbed.newest_name()
    for kind in ("unet", "unet_ema"):
        for file in ("config.json", "diffusion_pytorch_model.safetensors"):
            target = tmp_path / kind / file
            target.parent.mkdir(exist_ok=True)
            store.download(f"{layout.CHECKPOINTS}{name}/{kind}/{file}", target)
        model, facts = UNet2DConditionModel.from_pretrained(tmp_path / kind, output_loading_info=True)  # type: ignore[no-untyped-call]  # Diffusers is untyped here
        assert not facts["missing_keys"]
        assert model.config.block_out_channels == [8, 16]
