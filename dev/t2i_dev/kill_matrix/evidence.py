"""What a disturbed run proves when it is held against a calm one: its losses, its samples, its last weights."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
# Another number of processes adds up the same gradients in another order; measured, see docs/kill-matrix.md.
TOLERANCE = 1e-3
_TENSORS = (
    "unet/diffusion_pytorch_model.safetensors",
    "unet_ema/diffusion_pytorch_model.safetensors",
    "optimizer.safetensors",
)


@dataclass(frozen=True)
class Losses:
    """How far the losses of two runs are apart; `identical` bit for bit, gradient norms and learning rates too."""

    identical: bool
    furthest: float


def rows_of(root: Path) -> list[Row]:
    """Read metrics.jsonl."""
    return [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]


def compare(calm: list[Row], wild: list[Row]) -> Losses:
    """Compare the rows of the same steps."""
    same = [_measures(row) for row in calm] == [_measures(row) for row in wild]
    apart = [abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(calm, wild, strict=True)]
    return Losses(same, max(apart))


def row_faults(rows: list[Row], steps: int) -> Iterator[str]:
    """Every step has exactly one row."""
    if [row["step"] for row in rows] != list(range(1, steps + 1)):
        yield f"metrics.jsonl has the steps {[row['step'] for row in rows]}"


def sample_faults(folder: Path, rows: list[Row], *, batch: int, pictures: int) -> Iterator[str]:
    """Every sample index exactly once in the steps that count, and every picture exactly once an epoch."""
    taken: dict[tuple[int, int], list[tuple[list[int], list[int]]]] = {}
    for path in folder.glob("attempt-*/samples-*.jsonl"):
        for line in path.read_text().splitlines():
            told = _json(line)
            if told is not None:
                taken.setdefault((told["attempt"], told["step"]), []).append((told["indices"], told["rows"]))
    seen: dict[int, int] = {}
    for row in rows:
        shares = taken.get((row["attempt"], row["step"]), [])
        pairs = sorted((i, r) for indices, drawn in shares for i, r in zip(indices, drawn, strict=True))
        first = (row["step"] - 1) * batch
        if [index for index, _ in pairs] != list(range(first, first + batch)):
            yield f"step {row['step']} of attempt {row['attempt']} took the samples {[index for index, _ in pairs]}"
        seen |= dict(pairs)
    for epoch in range(len(seen) // pictures):
        drawn = sorted(seen[index] for index in range(epoch * pictures, (epoch + 1) * pictures) if index in seen)
        if drawn != list(range(pictures)):
            yield f"epoch {epoch} did not take every picture once"


def last_weights(root: Path, step: int) -> dict[str, str]:
    """Return the SHA-256 of the tensor files of the checkpoint of a step."""
    (manifest,) = (root / "checkpoints").glob(f"step-{step:08d}-*/MANIFEST.json")
    told = json.loads(manifest.read_bytes())
    return {file["path"]: file["sha256"] for file in told["files"] if file["path"] in _TENSORS}


def _measures(row: Row) -> tuple[Any, ...]:
    return row["step"], row["loss"], row["gradientNorm"], row["learningRate"]


def _json(line: str) -> dict[str, Any] | None:
    """A process that is killed may leave half a line."""
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return told
