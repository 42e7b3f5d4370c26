"""How a worker's last words reach the pod's exit status: a small file a rank, read by the launcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from t2i_api.progress import ExitCode, TerminationMessage, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from t2i_api.progress import Progress

REPORTS = "reports"  # folder below the run directory
# A rank that was only hit by another's end has less to tell than the one that began it.
_CONSEQUENCES = (ExitCode.INTERRUPTED, ExitCode.PEER_LOST, ExitCode.SUCCEEDED)


@dataclass(frozen=True)
class Report:
    """What one rank left, and when, seconds since the epoch."""

    message: TerminationMessage
    at: float


@dataclass(frozen=True)
class Outcome:
    """How the pod ends: its exit status, and the termination message that explains it."""

    status: int
    message: TerminationMessage

    @classmethod
    def of(cls, code: ExitCode, text: str) -> Self:
        """Return the end that no rank reported."""
        return cls(code, TerminationMessage(exit_code=code, reason=reason_of(code), message=text[:2048]))


def write_report(directory: Path, rank: int, code: ExitCode, text: str, progress: Progress | None) -> None:
    """Leave the last words of a rank; renamed into place, so that the launcher never reads half of it."""
    directory.mkdir(parents=True, exist_ok=True)
    message = TerminationMessage(
        exit_code=code, reason=reason_of(code), message=text[:2048], rank=rank, progress=progress
    )
    partial = directory / f".rank-{rank}.partial"
    partial.write_text(message.to_log())
    partial.replace(directory / f"rank-{rank}.json")


def read_reports(directory: Path) -> tuple[Report, ...]:
    """Read what the ranks of this pod left; a file that cannot be read is left out."""
    reports = []
    for path in sorted(directory.glob("rank-*.json")):
        try:
            reports.append(Report(TerminationMessage.model_validate_json(path.read_bytes()), path.stat().st_mtime))
        except (ValidationError, OSError):
            continue
    return tuple(reports)


def decisive(reports: Sequence[Report]) -> TerminationMessage | None:
    """Return the report that explains the pod's end: a cause before a consequence, then the earliest; None without any.

    Its progress is the furthest that any rank of the pod knew.
    """
    if not reports:
        return None
    chosen = min(reports, key=lambda report: (_weight(report.message.exit_code), report.at)).message
    known = [report.message.progress for report in reports if report.message.progress is not None]
    furthest = max(known, key=lambda progress: (progress.step, progress.last_checkpoint_step or 0), default=None)
    return chosen.model_copy(update={"progress": furthest})


def _weight(code: ExitCode) -> int:
    return _CONSEQUENCES.index(code) + 1 if code in _CONSEQUENCES else 0
