"""A file laid out before its bytes is, byte for byte, the file that the safetensors library writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from t2i_trainer.checkpointing.snapshot import Snapshot
from t2i_trainer.checkpointing.state import tensor_files, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.checkpointing.conftest import Bench

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


def some(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    return (numbers % 2 if dtype is torch.bool else numbers - 1).to(dtype)


@settings(max_examples=60, deadline=None)
@given(held=st.dictionaries(NAMES, st.tuples(SHAPES, st.sampled_from(DTYPES)), min_size=1, max_size=6))
def test_a_snapshot_is_the_file_that_the_library_writes(
    held: dict[str, tuple[tuple[int, ...], torch.dtype]], tmp_path_factory: Any
) -> None:
    tensors = {name: some(*kind) for name, kind in held.items()}
    snapshot = Snapshot(tmp_path_factory.getbasetemp(), torch.device("cpu"))
    snapshot.take({"file": tensors})
    assert content(snapshot, "file") == save(tensors, metadata={"format": "pt"})
    snapshot.close()


def test_a_snapshot_of_a_run_is_what_a_save_that_blocks_writes(bench: Bench, tmp_path: Path) -> None:
    """Channels-last weights, moments, the step: same bytes, so that a resume cannot tell how it was saved."""
    files = tensor_files(bench.state)
    snapshot = Snapshot(tmp_path, torch.device("cpu"))
    snapshot.take(files)
    for path, tensors in files.items():
        write_tensors(tmp_path / path, tensors)
        assert content(snapshot, path) == (tmp_path / path).read_bytes()
    snapshot.close()


def content(snapshot: Snapshot, path: str) -> bytes:
    file = snapshot.files[path]
    return bytes(file.memory[: file.plan.size])
