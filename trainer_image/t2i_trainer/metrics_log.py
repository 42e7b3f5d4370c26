"""`metrics.jsonl`: one line a step, floats with every digit, so that two runs can be compared bit for bit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from t2i_checkpoint import layout
from t2i_checkpoint.store import AlreadyExists

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store

logger = logging.getLogger("t2i_trainer")


class MetricsRow(TypedDict):
    """What is kept of a step; `step` 1 is the first. JSON has no number for what is not finite: it is null."""

    step: int
    loss: float | None
    gradientNorm: float | None
    learningRate: float
    imagesPerSecond: float
    attempt: int


# What may stand in a row besides; `evaluation` and `findings` only where there are any, `beginning` in the first row of
# an attempt, `leftOut` in the last row of one that was asked to stop: what the next one makes up for.
Extra = Literal["batch", "quartiles", "evaluation", "findings", "beginning", "leftOut"]
_LISTS = frozenset({"findings", "leftOut"})


class MetricsLog:
    """The rows of the whole run, from step 1 on; rank 0 writes them with every checkpoint."""

    def __init__(self, lines: tuple[str, ...] = ()) -> None:
        self._lines = list(lines)
        self._ahead: dict[int, dict[str, Any]] = {}

    @classmethod
    def resumed(cls, store: Store, step: int) -> MetricsLog:
        """Return the rows up to `step` that lie in the store; rows beyond it belong to steps that were lost."""
        if store.head(layout.METRICS) is None:
            return cls()
        return cls(lines_up_to(store.read(layout.METRICS), step))

    def append(self, row: MetricsRow) -> None:
        """Add the row of a step."""
        self._lines.append(json.dumps({**row, **self._ahead.pop(row["step"], {})}))

    def note(self, step: int, key: Extra, value: Any) -> None:
        """Add to the row of a step, which may be the last one or one to come; lists grow."""
        last = json.loads(self._lines[-1]) if self._lines else {}
        is_written = last.get("step") == step
        row = last if is_written else self._ahead.setdefault(step, {})
        row[key] = [*row.get(key, []), value] if key in _LISTS else value
        if is_written:
            self._lines[-1] = json.dumps(row)

    def left_out(self, step: int) -> frozenset[str]:
        """Return what was due after `step`, the last one, and was left out for a stop."""
        last = json.loads(self._lines[-1]) if self._lines else {}
        told = last.get("leftOut") if last.get("step") == step else None
        return frozenset(each for each in told if isinstance(each, str)) if isinstance(told, list) else frozenset()

    def batches(self) -> dict[int, str]:
        """Return the fingerprint of each step's batch, as far as it was noted."""
        rows = (json.loads(line) for line in self._lines if '"batch"' in line)
        return {row["step"]: row["batch"] for row in rows if isinstance(row.get("batch"), str)}

    def after(self, step: int) -> tuple[bytes, ...]:
        """Return the lines of the steps after `step`."""
        newer: list[bytes] = []
        for line in reversed(self._lines):
            if json.loads(line)["step"] <= step:
                break
            newer.append(line.encode())
        return tuple(reversed(newer))

    def to_bytes(self) -> bytes:
        """Return the whole file."""
        return "".join(line + "\n" for line in self._lines).encode()


def keep_earlier_rows(store: Store) -> str | None:
    """Copy the rows that lie there, for the first save of a run that begins at step 0 replaces them; returns the copy.

    Create-only and named by its content: any attempt may do so again. Raises StoreError.
    """
    if store.head(layout.METRICS) is None:
        return None
    rows = store.read(layout.METRICS)
    copy = layout.earlier_metrics(hashlib.sha256(rows).hexdigest())
    with contextlib.suppress(AlreadyExists):
        store.create(copy, rows)
        logger.info("%s/%s, of an earlier run or attempt, is kept as %s", store.uri, layout.METRICS, copy)
    return copy


def lines_up_to(raw: bytes, step: int) -> tuple[str, ...]:
    """Return the lines of steps 1 to `step`; a line that cannot be read is dropped, the file is only a record."""
    kept = []
    for line in raw.decode("utf-8", "replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int) and row["step"] <= step:
            kept.append(line)
    return tuple(kept)
