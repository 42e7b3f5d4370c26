"""A bucket as a run of some steps leaves it, made of plain files: no training is needed to make a page."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

HOSTILE = "</ol><script>document.title = 'gone'</script><img src=x onerror=alert(1)>"


def preview(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(buffer, "WEBP")
    return buffer.getvalue()


@pytest.fixture
def bucket(tmp_path: Path) -> LocalStore:
    (tmp_path / "bucket").mkdir()
    return LocalStore(tmp_path / "bucket")


@pytest.fixture
def put_rows(bucket: LocalStore) -> Callable[..., None]:
    """Write metrics.jsonl of so many steps; keyword arguments add to the row of a step."""

    def put(steps: int, **more: dict[str, Any]) -> None:
        rows = [{"step": step, "loss": 1 / step, "imagesPerSecond": 8.0, "attempt": 1} for step in range(1, steps + 1)]
        for step, extra in more.items():
            rows[int(step.removeprefix("step")) - 1] |= extra
        bucket.put(layout.METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())

    return put


@pytest.fixture
def put_grid(bucket: LocalStore) -> Callable[..., None]:
    """Write what the trainer leaves of one moment's pictures."""

    def put(step: int, prompts: Sequence[str] = ("a red circle", "a blue square"), small: bytes | None = None) -> None:
        folder = layout.sample_folder(step)
        bucket.put(f"{folder}/0000.png", b"\x89PNG")
        bucket.put(f"{folder}/{layout.PROMPTS}", json.dumps({"prompts": list(prompts)}).encode())
        bucket.put(f"{folder}/{layout.PREVIEW}", preview() if small is None else small)
        bucket.put(f"{folder}/{layout.GRID}", b"\x89PNG")

    return put
