"""How a pod ends is decided by the rank that began the end, not by those that were drawn along."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from t2i_api.progress import ExitCode, Progress, TerminationMessage, reason_of
from t2i_trainer.reports import Report, decisive, read_reports, write_report

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def report(rank: int, code: ExitCode, at: float, step: int = 0) -> Report:
    progress = Progress(attempt=1, world_size=2, target_steps=9, step=step, updated_at=NOW)
    message = TerminationMessage(exit_code=code, reason=reason_of(code), message="so", rank=rank, progress=progress)
    return Report(message, at)


@pytest.mark.parametrize(
    ("reports", "rank"),
    [
        ([report(0, ExitCode.PEER_LOST, 1), report(1, ExitCode.OUT_OF_MEMORY, 2)], 1),
        ([report(0, ExitCode.INTERRUPTED, 1), report(1, ExitCode.DATA_INVALID, 2)], 1),
        ([report(0, ExitCode.CRASHED, 2), report(1, ExitCode.NON_FINITE_LOSS, 1)], 1),
        ([report(0, ExitCode.SUCCEEDED, 1), report(1, ExitCode.STORAGE_UNAVAILABLE, 2)], 1),
        ([report(0, ExitCode.PEER_LOST, 1), report(1, ExitCode.INTERRUPTED, 2)], 1),
        ([report(0, ExitCode.SUCCEEDED, 1), report(1, ExitCode.SUCCEEDED, 2)], 0),
    ],
)
def test_a_cause_counts_before_its_consequences(reports: list[Report], rank: int) -> None:
    chosen = decisive(reports)
    assert chosen is not None
    assert chosen.rank == rank


def test_the_furthest_progress_goes_along() -> None:
    chosen = decisive([report(0, ExitCode.PEER_LOST, 1, step=7), report(1, ExitCode.CRASHED, 2, step=6)])
    assert chosen is not None
    assert chosen.progress is not None
    assert (chosen.exit_code, chosen.progress.step) == (ExitCode.CRASHED, 7)


def test_silence_is_no_report(tmp_path: Path) -> None:
    assert decisive(read_reports(tmp_path)) is None


def test_what_a_rank_wrote_is_read_and_rubbish_is_left_out(tmp_path: Path) -> None:
    write_report(tmp_path, 1, ExitCode.DATA_INVALID, "x" * 5000, None)
    (tmp_path / "rank-0.json").write_text("{")
    (found,) = read_reports(tmp_path)
    assert (found.message.rank, found.message.reason) == (1, "DataInvalid")
