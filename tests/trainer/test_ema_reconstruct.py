"""An average of any width is made of kept ones, and is the one that would have been computed on the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save
from typer.testing import CliRunner

from t2i_checkpoint import layout
from t2i_checkpoint.ema_snapshots import keep_ema_snapshot, stored_profiles
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import Manifest, ManifestFile, commit, remove_checkpoint
from t2i_checkpoint.power_average import gamma_of, profile_file
from t2i_cli.main import commands
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.ema_reconstruct import combine

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT, WANTED = (0.05, 0.10), (0.06, 0.15, 0.25)
STEPS, EVERY = 600, 15
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def checkpoint(
    store: LocalStore,
    step: int,
    tensors: Mapping[str, Mapping[str, torch.Tensor]],
    *,
    writer: str = "a1",
    seed: int = 7,
) -> Manifest:
    """Commit a checkpoint that holds power profiles and a config."""
    folder = layout.checkpoint_folder(step, writer)
    contents = {path: save(dict(each)) for path, each in tensors.items()}
    contents[layout.WEIGHTS_CONFIG] = b"{}"
    for path, content in contents.items():
        store.put(f"{folder}/{path}", content)
    manifest = Manifest(
        step=step,
        writer=writer,
        created_at=NOON + timedelta(seconds=step),
        files=tuple(
            ManifestFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for path, content in contents.items()
        ),
        architecture_fingerprint="a" * 64,
        parameter_order=("weight", "bias"),
        samples_seen=step,
        epoch=0,
        position_in_epoch=0,
        world_size=1,
        global_batch_size=1,
        seed=seed,
        prediction_type="v_prediction",
        noise_schedule="linear, 1000 timesteps",
        latent_scale=1.0,
        null_embedding_sha256=None,
        library_versions={},
    )
    commit(store, folder, manifest)
    return manifest


@dataclass(frozen=True)
class Run:
    """A toy run that is over: its bucket, its last weights, and the averages that nobody kept."""

    folder: Path
    weights: torch.Tensor
    truth: Mapping[float, torch.Tensor]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Weights walk at random; every checkpoint is retired when the next is there, as with retain: 1."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bucket")
    store, model = LocalStore(folder), torch.nn.Linear(8, 8)
    average = ExponentialMovingAverage(model, 0.9, power_widths=(*KEPT, *WANTED))
    before: Manifest | None = None
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        if step % EVERY == 0:
            kept = {profile_file(width): average.profile_tensors()[profile_file(width)] for width in KEPT}
            newest = checkpoint(store, step, kept)
            if before is not None:
                keep_ema_snapshot(store, before, newest)
                remove_checkpoint(store, layout.checkpoint_folder(before.step, "a1"))
            before = newest
    truth = {profile.width: profile.tensors["weight"] for profile in average.profiles if profile.width in WANTED}
    return Run(folder, model.weight.detach().clone(), truth)


def test_snapshots_outlive_their_checkpoints_and_lie_further_apart_the_later_they_are(run: Run) -> None:
    steps = sorted({each.step for each in stored_profiles(LocalStore(run.folder))})
    assert steps[0] == EVERY
    assert steps[-1] == STEPS
    assert 20 < len(steps) < STEPS // EVERY
    assert all(later >= 1.05 * earlier for earlier, later in pairwise(steps[:-1]))


@pytest.mark.parametrize("width", WANTED)
def test_any_width_is_the_average_that_would_have_been_computed_on_the_way(
    run: Run, width: float, tmp_path: Path
) -> None:
    target = tmp_path / "unet"
    answer = CliRunner().invoke(
        commands, ["ema", "reconstruct", str(run.folder), "--width", str(width), "--to", str(target)]
    )
    assert answer.exit_code == 0, answer.output
    made = load_file(target / "diffusion_pytorch_model.safetensors")["weight"]
    distance = (made - run.truth[width]).norm() / (run.weights - run.truth[width]).norm()
    assert distance < 0.03
    assert {path.name for path in target.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}


def test_a_kept_width_is_given_back_as_it_is(run: Run) -> None:
    profiles = stored_profiles(LocalStore(run.folder))
    found = combine([(each.step, each.width) for each in profiles], STEPS, 0.05)
    assert found.error < 1e-6
    assert found.shares.sum() == pytest.approx(1, abs=1e-6)


def test_the_error_that_is_told_is_that_of_the_weightings() -> None:
    """One uniform average says little about the last tenth of a run."""
    alone = combine([(1000, 0.25)], 1000, 0.05)
    together = combine([(1000, 0.25), (1000, 0.10), (1000, 0.05)], 1000, 0.07)
    assert alone.error > 0.5
    assert together.error < 0.15
    positions = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    shapes = [(gamma_of(width) + 1) * positions ** gamma_of(width) for width in (0.25, 0.10, 0.05, 0.07)]
    mixed = sum(float(share) * shape for share, shape in zip(together.shares, shapes[:3], strict=True))
    assert float((mixed - shapes[3]).norm() / shapes[3].norm()) == pytest.approx(together.error, rel=1e-2)


def test_averages_of_another_run_in_the_same_place_are_left_out(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    tensors = {profile_file(0.05): {"weight": torch.zeros(1)}}
    for manifest in (
        checkpoint(store, 50, tensors, writer="old", seed=1),
        checkpoint(store, 100, tensors, seed=2),
    ):
        keep_ema_snapshot(store, manifest, manifest)
    assert {each.step for each in stored_profiles(store)} == {100}


# What is asked for, and the words of the refusal.
MISTAKES: dict[str, tuple[list[str], str]] = {
    "a width that no average has": (["--width", "0.4"], "relative width lies in"),
    "a step that was not kept": (["--width", "0.1", "--step", "77"], "averages are there at"),
    "a step after the end": (["--width", "0.1", "--step", "9999"], "averages are there at"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_leaves_no_folder(mistake: str, run: Run, tmp_path: Path) -> None:
    options, words = MISTAKES[mistake]
    target = tmp_path / "unet"
    answer = CliRunner().invoke(commands, ["ema", "reconstruct", str(run.folder), "--to", str(target), *options])
    assert answer.exit_code != 0
    assert words in str(answer.exception)
    assert not target.exists()


def test_a_damaged_snapshot_is_refused_by_name_and_leaves_no_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "bucket")
    manifest = checkpoint(store, 100, {profile_file(0.05): {"weight": torch.zeros(4)}})
    keep_ema_snapshot(store, manifest, manifest)
    remove_checkpoint(store, layout.checkpoint_folder(100, "a1"))
    key = "ema/step-00000100-a1/0.05.safetensors"
    content = bytearray(store.read(key))
    content[-1] ^= 1
    store.put(key, bytes(content))
    target = tmp_path / "unet"
    place = str(tmp_path / "bucket")
    answer = CliRunner().invoke(commands, ["ema", "reconstruct", place, "--width", "0.05", "--to", str(target)])
    assert "not those that were written" in str(answer.exception)
    assert not target.exists()


def test_what_is_kept_is_listed(run: Run) -> None:
    answer = CliRunner().invoke(commands, ["ema", "ls", str(run.folder)])
    assert answer.exit_code == 0
    assert "0.05" in answer.output
    assert "600" in answer.output
