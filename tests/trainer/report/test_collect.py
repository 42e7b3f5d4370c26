"""What the bucket holds of a run is found, bounded, and a part that cannot be read does not cost the others."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import StoreUnavailable
from t2i_trainer.report.collect import MAXIMUM_PREVIEW_BYTES, SHOWN_GRIDS, Collector, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from t2i_checkpoint.store import ObjectInfo
    from t2i_trainer.report.facts import ReportFacts

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def facts_of(store: LocalStore) -> ReportFacts:
    return Collector(store).collect(NOW)


def test_an_empty_bucket_is_an_empty_page(bucket: LocalStore) -> None:
    facts = facts_of(bucket)
    assert facts.is_empty
    assert facts.name == "bucket"


def test_grids_come_in_order_with_their_prompts(
    bucket: LocalStore, put_rows: Callable[..., None], put_grid: Callable[..., None]
) -> None:
    put_rows(3)
    put_grid(20, ("later",))
    put_grid(10)
    facts = facts_of(bucket)
    assert [grid.step for grid in facts.grids] == [10, 20]
    assert [grid.prompts for grid in facts.grids] == [("a red circle", "a blue square"), ("later",)]
    assert facts.grids[0].href == "../samples/step-00000010/grid.png"
    assert facts.grids[0].preview is not None
    assert (facts.history.last_step, facts.problems, facts.is_empty) == (3, (), False)


def test_grids_that_an_earlier_run_drew_are_not_this_ones(
    bucket: LocalStore, put_rows: Callable[..., None], put_grid: Callable[..., None], tmp_path: Path
) -> None:
    """After an archive the page of a run of 12 steps showed a picture of step 600."""
    for step in (10, 20, 600):
        put_grid(step)
    began = datetime.now(UTC) - timedelta(hours=1)
    for path in (tmp_path / "bucket" / "samples" / "step-00000600").iterdir():
        os.utime(path, times=(0, began.timestamp() - 60))
    put_rows(2, step1={"beginning": {"at": began.isoformat()}})
    assert [grid.step for grid in facts_of(bucket).grids] == [10, 20]


def test_of_many_grids_first_and_last_are_shown(bucket: LocalStore, put_grid: Callable[..., None]) -> None:
    for step in range(1, SHOWN_GRIDS + 8):
        put_grid(step)
    facts = facts_of(bucket)
    assert len(facts.grids) == SHOWN_GRIDS
    assert (facts.grids[0].step, facts.grids[-1].step, facts.grids_left_out) == (1, SHOWN_GRIDS + 7, 7)


@pytest.mark.parametrize(
    ("steps", "most", "expected"),
    [([], 3, ()), ([1, 2], 3, (1, 2)), ([1, 2, 3, 4, 5], 3, (1, 3, 5)), ([1, 2, 3, 4], 2, (1, 4))],
)
def test_steps_are_spread_evenly(steps: list[int], most: int, expected: tuple[int, ...]) -> None:
    assert spread(steps, most) == expected


@pytest.mark.parametrize(
    "small", [b"<svg onload=alert(1)>", b"RIFF0000WAVE", b"RIFF0000WEBP" + b"0" * MAXIMUM_PREVIEW_BYTES]
)
def test_a_preview_that_is_none_is_only_linked(bucket: LocalStore, put_grid: Callable[..., None], small: bytes) -> None:
    put_grid(10, small=small)
    (grid,) = facts_of(bucket).grids
    assert grid.preview is None


@pytest.mark.parametrize("asked", [b"", b"[]", b"{", b'{"prompts": "x"}', b'{"prompts": [1, {"a": 2}]}'])
def test_prompts_that_are_none_are_left_out(bucket: LocalStore, put_grid: Callable[..., None], asked: bytes) -> None:
    put_grid(10)
    bucket.put(f"{layout.sample_folder(10)}/{layout.PROMPTS}", asked)
    (grid,) = facts_of(bucket).grids
    assert grid.prompts == ()


@pytest.mark.parametrize("key", ["samples/step-x/grid.png", "samples/grid.png", "samples/step-00000010/a/grid.png"])
def test_what_only_looks_like_a_grid_is_none(bucket: LocalStore, key: str) -> None:
    bucket.put(key, b"\x89PNG")
    assert facts_of(bucket).grids == ()


def test_a_line_of_any_length_is_passed_over(bucket: LocalStore) -> None:
    rows = (
        b'{"step": 1, "loss": 0.5}\n' + b'{"step": 2, "x": "' + b"y" * 20_000_000 + b'"}\n{"step": 3, "loss": 0.25}\n'
    )
    bucket.put(layout.METRICS, rows)
    assert list(facts_of(bucket).history.steps) == [1, 3]


class Deaf(LocalStore):
    """A store that answers no listing below one prefix."""

    deaf_to = layout.SAMPLES

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if prefix.startswith(self.deaf_to):
            raise StoreUnavailable("no answer", uri=self.uri, operation="list", key=prefix, way_out="Try again")
        return super().list(prefix)


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(tmp_path: Path, put_rows: Callable[..., None]) -> None:
    put_rows(5)
    facts = Collector(Deaf(tmp_path / "bucket")).collect(NOW)
    assert facts.history.last_step == 5
    assert facts.grids == ()
    (problem,) = facts.problems
    assert "no answer" in problem
    assert not facts.is_empty
