"""Which folders are checkpoints, in which order, and which of their files holds the weights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from t2i_checkpoint.discovery import CheckpointFormat, candidates, find_weights
from t2i_checkpoint.store import ObjectInfo

START = datetime(2026, 1, 1, tzinfo=UTC)


def info(key: str, minute: int = 0) -> ObjectInfo:
    return ObjectInfo(key, 10, "e", START + timedelta(minutes=minute))


def test_candidates_come_newest_first_and_hold_all_their_objects() -> None:
    found = candidates(
        [
            info("checkpoint-500/a"),
            info("checkpoint-500/unet/b"),
            info("checkpoints/checkpoint-1000/a"),
            info("checkpoints/step-00001000-w1/a", minute=1),
            info("checkpoints/readme.txt"),
            info("checkpoints_backup/checkpoint-9/a"),
        ]
    )
    assert [c.folder.folder for c in found] == [
        "checkpoints/step-00001000-w1",
        "checkpoints/checkpoint-1000",
        "checkpoint-500",
    ]
    assert sorted(found[2].objects) == ["a", "unet/b"]
    assert found[2].size_bytes == 20


def test_of_one_step_and_one_moment_the_later_attempt_is_the_newer() -> None:
    """Several stores tell whole seconds."""
    folders = [f"checkpoints/step-00001000-w-a{attempt}" for attempt in (10, 9, 2)]
    for order in (folders, folders[::-1]):
        found = candidates([info(f"{folder}/a") for folder in order])
        assert [each.folder.folder for each in found] == folders


@pytest.mark.parametrize(
    ("paths", "path", "kind"),
    [
        (
            ["unet/diffusion_pytorch_model.safetensors", "unet_ema/diffusion_pytorch_model.safetensors"],
            "unet/diffusion_pytorch_model.safetensors",
            CheckpointFormat.DIFFUSERS,
        ),
        (["model.safetensors", "optimizer.bin", "scaler.pt"], "model.safetensors", CheckpointFormat.ACCELERATE),
        (
            ["model-00001-of-00002.safetensors", "model.safetensors.index.json"],
            "model.safetensors.index.json",
            CheckpointFormat.SHARDED,
        ),
        (["step.safetensors"], "step.safetensors", CheckpointFormat.SAFETENSORS),
        (
            ["unet_ema/diffusion_pytorch_model.safetensors"],
            "unet_ema/diffusion_pytorch_model.safetensors",
            CheckpointFormat.SAFETENSORS,
        ),
        (["a.safetensors", "b.safetensors"], None, CheckpointFormat.SAFETENSORS),
        (["pytorch_model.bin", "optimizer.bin"], "pytorch_model.bin", CheckpointFormat.PICKLE),
        (["last.ckpt"], "last.ckpt", CheckpointFormat.PICKLE),
        (["optimizer.bin", "scheduler.bin", "random_states_0.pkl"], None, CheckpointFormat.UNKNOWN),
        (["optimizer.safetensors"], None, CheckpointFormat.UNKNOWN),
        ([], None, CheckpointFormat.UNKNOWN),
    ],
)
def test_which_file_holds_the_weights(paths: list[str], path: str | None, kind: CheckpointFormat) -> None:
    found = find_weights(paths)
    assert (found.path, found.format) == (path, kind)
