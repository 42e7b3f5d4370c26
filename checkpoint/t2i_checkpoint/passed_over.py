"""What a choice passes over, counted by why, in the same words for operator, trainer and command line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_checkpoint.inspect import Judgement

_UNFINISHED = {"NotCommitted", "Retired"}  # a save that was cut off, or a deletion that was begun
_LISTED, _EXPLANATION = 4, 200


@dataclass(frozen=True)
class PassedOver:
    """Checkpoints with one verdict and reason; `newest` is the newest of them."""

    verdict: VerdictKind
    reason: str
    count: int
    newest: Judgement


def passed_over(skipped: Sequence[Judgement]) -> tuple[PassedOver, ...]:
    """Count by verdict and reason, in the order in which they come."""
    groups: dict[tuple[VerdictKind, str], list[Judgement]] = {}
    for judgement in skipped:
        groups.setdefault((judgement.verdict.kind, str(judgement.verdict.reason)), []).append(judgement)
    return tuple(PassedOver(kind, reason, len(found), found[0]) for (kind, reason), found in groups.items())


def is_lost_progress(skipped: Sequence[Judgement]) -> bool:
    """Whether there is more among them than what kills leave behind: somebody should look at those."""
    return any(
        item.verdict.kind is not VerdictKind.INCOMPLETE or item.verdict.reason not in _UNFINISHED for item in skipped
    )


def passed_over_sentence(skipped: Sequence[Judgement], *, newer: bool) -> str:
    """Return how many were passed over and why each, empty for none; `newer`: than the one that is resumed."""
    if not skipped:
        return ""
    groups = passed_over(skipped)
    what = f"{len(skipped)}{' newer' if newer else ''} checkpoint{'s' if len(skipped) > 1 else ''} passed over"
    parts = [_part(group) for group in groups[:_LISTED]]
    if len(groups) > _LISTED:
        parts.append(f"{len(groups) - _LISTED} more reasons")
    return f"{what}: {'; '.join(parts)}"


def _part(group: PassedOver) -> str:
    explanation = group.newest.verdict.explanation
    if len(explanation) > _EXPLANATION:
        explanation = f"{explanation[: _EXPLANATION - 3]}..."
    newest = "newest " if group.count > 1 else ""
    return f"{group.count} {group.verdict} ({group.reason}), {newest}{group.newest.name}: {explanation}"
