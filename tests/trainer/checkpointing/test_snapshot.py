"""A snapshot stays what it was while training goes on, and finds a place wherever there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from t2i_trainer.checkpointing import snapshot as module
from t2i_trainer.checkpointing.row_major import make_row_major
from t2i_trainer.checkpointing.snapshot import Snapshot
from t2i_trainer.failures import TrainerError

CPU = torch.device("cpu")


def read(snapshot: Snapshot) -> torch.Tensor:
    """Read it as the uploading process does."""
    laid = snapshot.files["unet/a"].laid
    make_row_major(Path(laid.source), laid.channels_last)
    return load(Path(laid.source).read_bytes())["w"]


@pytest.mark.parametrize("room", [2**40, 0], ids=["in memory", "in the run's directory"])
def test_it_is_not_touched_by_what_training_does_next(
    tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_bytes", lambda: room)
    snapshot = Snapshot(tmp_path / "run", CPU)
    weights = torch.arange(48.0).reshape(2, 4, 3, 2).contiguous(memory_format=torch.channels_last)
    snapshot.take({"unet/a": {"w": weights}})
    before = weights.clone()
    weights += 1
    assert torch.equal(read(snapshot), before)
    snapshot.take({"unet/a": {"w": weights}})
    assert torch.equal(read(snapshot), weights)
    assert list(tmp_path.rglob("*unet*")) == []  # nothing is left behind by a kill
    snapshot.close()


def test_names_and_shapes_stay_those_of_the_first_save(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path, CPU)
    snapshot.take({"unet/a": {"w": torch.zeros(2)}})
    with pytest.raises(TrainerError, match="changed within the run"):
        snapshot.take({"unet/a": {"w": torch.zeros(3)}})
    snapshot.close()


def test_a_closed_snapshot_holds_nothing_open(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    before = list(descriptors.iterdir())
    snapshot = Snapshot(tmp_path, CPU)
    snapshot.take({"unet/a": {"w": torch.zeros(2)}})
    snapshot.close()
    assert list(descriptors.iterdir()) == before
