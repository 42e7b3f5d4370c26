"""The kernel's count of processes killed for memory, as both versions of control groups spell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_trainer.memory import out_of_memory_kills

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "kills"),
    [
        ("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("oom_kill many\n", 0),
        ("", 0),
    ],
    ids=["version-2", "version-1", "unreadable", "empty"],
)
def test_the_count_is_read(tmp_path: Path, content: str, kills: int) -> None:
    (tmp_path / "events").write_text(content)
    assert out_of_memory_kills((tmp_path / "events",)) == kills


def test_a_kernel_that_does_not_tell_counts_as_none(tmp_path: Path) -> None:
    assert out_of_memory_kills((tmp_path / "nowhere",)) == 0
