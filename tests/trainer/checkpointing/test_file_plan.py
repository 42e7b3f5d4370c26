"""A file laid out before its bytes is, byte for byte, the file that the safetensors library writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from t2i_trainer.checkpointing.file_plan import plan_file
from t2i_trainer.checkpointing.row_major import make_row_major
from t2i_trainer.checkpointing.snapshot import Snapshot
from t2i_trainer.checkpointing.state import tensor_files, write_tensors

if TYPE_CHECKING:
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
PICTURE = 4
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


def some(shape: tuple[int, ...], dtype: torch.dtype, *, turned: bool) -> torch.Tensor:
    numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    tensor = (numbers % 2 if dtype is torch.bool else numbers - 1).to(dtype)
    return tensor.contiguous(memory_format=torch.channels_last) if turned and len(shape) == PICTURE else tensor


@settings(max_examples=60, deadline=None)
@given(held=st.dictionaries(NAMES, st.tuples(SHAPES, st.sampled_from(DTYPES), st.booleans()), min_size=1, max_size=6))
def test_a_snapshot_is_the_file_that_the_library_writes(
    held: dict[str, tuple[tuple[int, ...], torch.dtype, bool]], tmp_path_factory: Any
) -> None:
    tensors = {name: some(shape, dtype, turned=turned) for name, (shape, dtype, turned) in held.items()}
    snapshot = Snapshot(tmp_path_factory.getbasetemp(), torch.device("cpu"))
    for _ in range(2):  # the second save finds what the first was turned into
        snapshot.take({"file": tensors})
        plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
        assert content(snapshot, "file") == save(plain, metadata={"format": "pt"})
    snapshot.close()


def test_a_snapshot_of_a_run_is_what_a_save_that_blocks_writes(bench: Bench, tmp_path: Path) -> None:
    """Channels-last weights, moments, the step: same bytes, so that a resume cannot tell how it was saved."""
    files = tensor_files(bench.state)
    snapshot = Snapshot(tmp_path, torch.device("cpu"))
    snapshot.take(files)
    for path, tensors in files.items():
        write_tensors(tmp_path / path, tensors)
        assert content(snapshot, path) == (tmp_path / path).read_bytes()
    assert any(file.channels_last for file in snapshot.files.values())
    snapshot.close()


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        ({"b": torch.zeros(3), "a": torch.ones(2, 2)}, True),
        ({"a": torch.zeros(2, 2)}, False),
        ({"a": torch.zeros(2, 2), "c": torch.zeros(3)}, False),
        ({"a": torch.zeros(4), "b": torch.zeros(3)}, False),
        ({"a": torch.zeros(2, 2, dtype=torch.int32), "b": torch.zeros(3)}, False),
        ({"a": torch.zeros(2, 2), "b": torch.zeros(3), "c": torch.zeros(0)}, False),
    ],
    ids=["other order and values", "one less", "renamed", "other shape", "other type", "one more"],
)
def test_a_plan_is_for_tensors_of_these_names_types_and_shapes(other: dict[str, torch.Tensor], *, fits: bool) -> None:
    plan = plan_file({"a": torch.zeros(2, 2), "b": torch.zeros(3)})
    assert plan.is_for(other) == fits == (plan_file(other) == plan)


def content(snapshot: Snapshot, path: str) -> bytes:
    """What the uploading process reads."""
    file = snapshot.files[path]
    make_row_major(Path(file.laid.source), file.channels_last)
    return bytes(file.memory[: file.plan.size])
