"""Two processes begin with another program's weights, and go on after a kill as if nothing had happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from t2i_api.attempt import InitialWeightsDocument
from t2i_api.progress import ExitCode
from t2i_api.status import VerdictKind
from t2i_checkpoint import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.trainer.resume.conftest import Cluster

STEPS, EVERY = 40, 10


@pytest.fixture
def weights(tmp_path: Path, cluster_at: Callable[..., Cluster]) -> InitialWeightsDocument:
    """What Diffusers saved of a UNet like the job's, but for another text encoder's width."""
    config = cluster_at(tmp_path / "unused").job["spec"]["model"]["unet"]["config"]
    torch.manual_seed(99)
    model = cast("Any", UNet2DConditionModel)(**{**config, "cross_attention_dim": 24})
    model.save_pretrained(tmp_path / "elsewhere" / "checkpoint-5" / "unet")
    return InitialWeightsDocument(
        uri=f"file://{tmp_path}/elsewhere", folder="checkpoint-5", verdict=VerdictKind.PARTIAL, allow_partial=True
    )


def cluster(make: Callable[..., Cluster], folder: Path) -> Cluster:
    made = make(folder)
    made.job["spec"]["training"].update(steps=STEPS, learningRate=1e-4)
    made.job["spec"]["checkpoint"].update(everySteps=EVERY, retain=9)
    return made


@pytest.mark.exhaustive
def test_all_ranks_begin_alike_and_a_resume_stays_exact(
    cluster_at: Callable[..., Cluster], weights: InitialWeightsDocument, tmp_path: Path
) -> None:
    calm, wild = cluster(cluster_at, tmp_path / "calm"), cluster(cluster_at, tmp_path / "wild")
    (pod,) = calm.start(1, workers=1, processes=2, initial_weights=weights)
    pod.expect(ExitCode.SUCCEEDED)
    output = pod.output.read_text()
    assert "all 2 ranks begin with the same weights" in output
    assert "start from random values" in output

    pods = wild.start(1, workers=2, processes=1, initial_weights=weights)
    wild.wait_for_checkpoint(EVERY, pods)
    for each in pods:
        each.kill()
    killed_after = wild.newest().step
    assert killed_after < STEPS
    (resumed,) = wild.start(2, workers=1, processes=2, resume_from=wild.newest_name())
    resumed.expect(ExitCode.SUCCEEDED)

    assert [row["loss"] for row in wild.rows()] == [row["loss"] for row in calm.rows()]
    for path in (layout.WEIGHTS, layout.EMA_WEIGHTS, layout.OPTIMIZER):
        ours, theirs = calm.newest().file(path), wild.newest().file(path)
        assert ours is not None
        assert theirs is not None
        assert ours.sha256 == theirs.sha256, path
    for manifest in (*calm.manifests(), *wild.manifests()):
        assert len({rank.weights_sha256 for rank in manifest.ranks}) == 1
        facts = manifest.initial_weights
        assert facts is not None
        assert (facts.uri, facts.folder, facts.step, facts.verdict) == (
            weights.uri,
            weights.folder,
            5,
            VerdictKind.PARTIAL,
        )
        assert facts.fresh
    for end in (pod, resumed):
        assert end.message.progress is not None
        told = end.message.progress.warm_start
        assert told is not None
        assert 0 < told.fresh == len(told.fresh_names)
    moved = _distance(calm, tmp_path / "elsewhere")
    assert max(moved.values()) < 0.02  # forty steps of 1e-4 away from what was given, not from random values


def _distance(run: Cluster, given: Path) -> dict[str, float]:
    """How far each tensor that was loaded went."""
    first = load_file(given / "checkpoint-5" / layout.WEIGHTS)
    newest = run.newest()
    folder = run.folder / "bucket" / layout.checkpoint_folder(newest.step, newest.writer)
    last = load_file(folder / layout.WEIGHTS)
    assert newest.initial_weights is not None
    loaded = last.keys() - set(newest.initial_weights.fresh)
    return {name: float((last[name] - first[name]).abs().max()) for name in loaded}
