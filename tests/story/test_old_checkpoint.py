"""The story's old checkpoints are what Accelerate really writes, and the survey says of them what the demo shows."""

import hashlib
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import VerdictKind
from t2i_checkpoint.discovery import CheckpointFormat
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.store import Store, content_sha256
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.story.custom_unet import CustomUNet
from t2i_dev.story.old_checkpoint import put_old_checkpoints, write_old_checkpoints

EXAMPLE = Path(__file__).parents[2] / "examples" / "emoji.yaml"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_old_checkpoints(tmp_path_factory.mktemp("old"))


def test_both_folders_hold_what_accelerate_writes(files: dict[str, Path]) -> None:
    for step in (4000, 5000):
        folder = f"checkpoints/checkpoint-{step:08d}"
        assert {f"{folder}/{name}" for name in ("model.safetensors", "optimizer.bin", "scheduler.bin")} <= set(files)
        assert f"{folder}/random_states_0.pkl" in files
        assert 5_000_000 < files[f"{folder}/model.safetensors"].stat().st_size < 20_000_000


def test_the_two_checkpoints_differ(files: dict[str, Path]) -> None:
    old, new = (files[f"checkpoints/checkpoint-0000{step}/model.safetensors"].read_bytes() for step in (4000, 5000))
    assert old != new


def test_the_weights_load_back_and_the_output_layer_never_learned(files: dict[str, Path]) -> None:
    weights = load_file(files["checkpoints/checkpoint-00005000/model.safetensors"])
    model = CustomUNet()
    model.load_state_dict(weights)
    for part in ("in_layers", "out_layers", "emb_layers", "skip_connection"):
        assert any(part in name for name in weights)
    assert float(weights["out.2.weight"].abs().max()) == 0
    with torch.no_grad():
        noise = model(torch.randn(2, 3, 32, 32), torch.tensor([1, 999]), torch.randn(2, 384))
    assert tuple(noise.shape) == (2, 3, 32, 32)
    assert float(noise.abs().max()) == 0


def test_the_survey_calls_them_foreign_custom_unets_and_the_hashes_are_those_of_the_bucket(
    store: Store, files: dict[str, Path]
) -> None:
    hashes = put_old_checkpoints(store, files)
    job = DiffusionTrainingJob.from_object(yaml.safe_load(EXAMPLE.read_text("utf-8")))
    judged = survey(store, wanted_from(job.spec)).judgements
    assert [(each.name, each.step) for each in judged] == [("checkpoint-00005000", 5000), ("checkpoint-00004000", 4000)]
    for each in judged:
        assert (each.verdict.kind, each.label) == (VerdictKind.FOREIGN, "custom-unet")
        assert each.format is CheckpointFormat.ACCELERATE
        assert each.verdict.archivable
        assert each.verdict.missing
        assert any("in_layers" in name for name in each.verdict.unexpected)
    stored = {info.key: content_sha256(store, info) for info in store.list("checkpoints/")}
    assert stored == hashes
    key = "checkpoints/checkpoint-00005000/model.safetensors"
    assert hashes[key] == hashlib.sha256(files[key].read_bytes()).hexdigest()
