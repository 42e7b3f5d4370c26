"""Tensors that lie channels-last are turned where they lie, whatever their size, and nothing beside them is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_trainer.checkpointing import row_major
from t2i_trainer.checkpointing.order import ChannelsLast
from t2i_trainer.checkpointing.row_major import make_row_major

if TYPE_CHECKING:
    from pathlib import Path

ITEM_BYTES = get_args(ChannelsLast.model_fields["item_bytes"].annotation)
BESIDE = b"\xff" * 16


@pytest.mark.parametrize("chunk_bytes", [1, 64, row_major._CHUNK_BYTES])  # noqa: SLF001  # the size as shipped
@settings(max_examples=40, deadline=None)
@given(item_bytes=st.sampled_from(ITEM_BYTES), shape=st.tuples(*[st.integers(1, 4)] * 4))
def test_only_the_order_within_each_filter_changes(
    chunk_bytes: int, item_bytes: int, shape: tuple[int, int, int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = np.random.default_rng(0).bytes(int(np.prod(shape)) * item_bytes)
    lies = np.frombuffer(expected, f"V{item_bytes}").reshape(shape).transpose(0, 2, 3, 1).tobytes()
    path = tmp_path_factory.getbasetemp() / "turned"
    path.write_bytes(BESIDE + lies + BESIDE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_major, "_CHUNK_BYTES", chunk_bytes)
        make_row_major(path, [ChannelsLast(offset=len(BESIDE), item_bytes=item_bytes, shape=shape)])
    assert path.read_bytes() == BESIDE + expected + BESIDE


def test_a_file_without_such_tensors_is_not_even_opened(tmp_path: Path) -> None:
    make_row_major(tmp_path / "absent", [])
