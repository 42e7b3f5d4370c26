"""Two runs that write to one place are told of each other once; a history that lay there before is no second run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_trainer.checkpointing.other_writers import OtherWriters
from t2i_trainer.checkpointing.retention import retire_checkpoints

if TYPE_CHECKING:
    import pytest
    from tests.trainer.checkpointing.conftest import Bench


def warnings_of(bench: Bench, watch: OtherWriters, step: int, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Save and retire, as the uploading process does, and return what is said."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        retire_checkpoints(bench.store, bench.save(step), 9, watch)
    return [record.getMessage() for record in caplog.records]


def commit(bench: Bench, step: int, writer: str) -> str:
    folder = layout.checkpoint_folder(step, writer)
    bench.store.put(f"{folder}/{layout.MANIFEST}", b"{}")
    return folder


def test_a_checkpoint_that_another_writer_commits_meanwhile_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    watch = OtherWriters()
    commit(bench, 9, "history-a1")
    assert warnings_of(bench, watch, 1, caplog) == []
    assert warnings_of(bench, watch, 2, caplog) == []
    bench.store.put(f"{layout.checkpoint_folder(8, 'unfinished-a1')}/{layout.WEIGHTS}", b"")
    bench.store.put("checkpoint-10/model.safetensors", b"of another program")
    commit(bench, 1, "restored-a1")
    assert warnings_of(bench, watch, 3, caplog) == []
    folder = commit(bench, 4, "rival-a1")
    [said] = warnings_of(bench, watch, 4, caplog)
    assert said.startswith(f"{folder} was committed by another writer (rival-a1)")
    commit(bench, 6, "rival-a1")
    assert warnings_of(bench, watch, 5, caplog) == []
