"""Averages that are combined are of one past: nothing of steps that were gone back from or begun again before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.ema_history import (
    SPACING,
    SnapshotDocument,
    document_of,
    is_due,
    is_on_the_way,
    way_to_the_newest,
)
from t2i_checkpoint.manifest import ManifestFile, StepSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.manifest import Manifest

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BACK = StepSpan(first=51, last=80)  # at step 80 the run went back to the checkpoint of step 50
AGAIN = StepSpan(first=91, last=120)


def taken(
    step: int, *, at: int | None = None, rolled_back: tuple[StepSpan, ...] | None = (), **changes: Any
) -> SnapshotDocument:
    """What a snapshot of a step says, taken so many seconds after noon."""
    facts: dict[str, Any] = {
        "step": step,
        "created_at": NOON + timedelta(seconds=step if at is None else at),
        "architecture_fingerprint": "a" * 64,
        "prediction_type": "v_prediction",
        "noise_schedule": "linear, 1000 timesteps",
        "latent_scale": 1.0,
        "seed": 7,
        "global_batch_size": 1,
        "rolled_back": rolled_back,
        "files": (),
    }
    return SnapshotDocument(**{**facts, **changes})


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        (taken(10), taken(20), True),
        (taken(20), taken(20), True),
        (taken(30), taken(20), False),
        (taken(10, seed=8), taken(20), False),
        (taken(10, noise_schedule="cosine"), taken(20), False),
        (taken(50), taken(90, rolled_back=(BACK,)), True),
        (taken(51), taken(90, rolled_back=(BACK,)), False),
        (taken(80), taken(90, rolled_back=(BACK,)), False),  # before the going back
        (taken(80, rolled_back=(BACK,)), taken(90, rolled_back=(BACK,)), True),  # after it, at the same step
        (taken(85, rolled_back=(BACK,)), taken(130, rolled_back=(BACK, AGAIN)), True),
        (taken(100, rolled_back=(BACK,)), taken(130, rolled_back=(BACK, AGAIN)), False),
        (taken(85), taken(90, rolled_back=(BACK,)), False),  # an attempt that never went back
        (taken(85, rolled_back=None), taken(90, rolled_back=(BACK,)), True),  # of a version that told nothing of it
        (taken(10), taken(20, rolled_back=None), True),
    ],
)
def test_an_earlier_one_counts_where_the_later_run_passed_it(
    earlier: SnapshotDocument, later: SnapshotDocument, *, expected: bool
) -> None:
    assert is_on_the_way(earlier, later) is expected


def steps_on_the_way(*documents: SnapshotDocument) -> list[int]:
    return [documents[place].step for place in way_to_the_newest(documents)]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((), []),
        ((taken(30), taken(10), taken(20)), [10, 20, 30]),
        # Resumed from 20: what the attempt before took of 30 to 50 is replaced, and left where it is not.
        ((taken(10), taken(20), taken(30), taken(50), taken(30, at=60), taken(40, at=70)), [10, 20, 30, 40]),
        ((taken(60), taken(70), taken(90, rolled_back=(BACK,))), [90]),
        ((taken(50), taken(70), taken(80, at=85, rolled_back=(BACK,))), [50, 80]),
        ((taken(10, seed=1), taken(5, at=20)), [5]),
    ],
)
def test_only_what_led_to_the_newest_is_combined(documents: tuple[SnapshotDocument, ...], expected: list[int]) -> None:
    assert steps_on_the_way(*documents) == expected
    assert steps_on_the_way(*reversed(documents)) == expected


def test_of_two_that_were_taken_at_once_the_second_counts() -> None:
    assert way_to_the_newest([taken(10), taken(20), taken(20), taken(10)]) == (3, 2)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=12))
def test_a_way_ends_with_the_newest_and_rises_in_step_and_time(drawn: list[tuple[int, int]]) -> None:
    documents = [taken(step, at=at) for step, at in drawn]
    way = [documents[place] for place in way_to_the_newest(documents)]
    assert all(a.step < b.step and a.created_at <= b.created_at for a, b in pairwise(way))
    newest = max((each.created_at for each in documents), default=None)
    assert (way[-1].created_at if way else None) == newest


@pytest.mark.parametrize(
    ("step", "known", "expected"),
    [
        (0, [], False),
        (100, [], True),
        (104, [taken(100)], False),
        (105, [taken(100)], True),
        (100, [taken(100)], True),  # taken again after a resume
        (100, [taken(101)], True),
        (104, [taken(100, seed=8)], True),  # another run's
    ],
)
def test_one_is_due_where_none_of_hardly_fewer_steps_is_there(
    step: int, known: list[SnapshotDocument], *, expected: bool
) -> None:
    assert is_due(taken(step), known) is expected


def test_steps_that_were_gone_back_from_make_no_other_superfluous() -> None:
    assert is_due(taken(81, rolled_back=(BACK,)), [taken(79)])
    assert not is_due(taken(82, rolled_back=(BACK,)), [taken(79), taken(81, rolled_back=(BACK,))])


@given(st.sets(st.integers(1, 3000), max_size=200))
def test_kept_ones_never_lie_closer_than_they_must_nor_leave_a_gap(steps: set[int]) -> None:
    kept: list[SnapshotDocument] = []
    for step in sorted(steps):
        if is_due(taken(step), kept):
            kept.append(taken(step))
        assert kept[-1].step > step / SPACING
    assert all(b.step >= SPACING * a.step for a, b in pairwise(kept))


def test_a_document_reads_back_and_names_the_averages_of_the_manifest(make_manifest: Callable[..., Manifest]) -> None:
    files = tuple(
        ManifestFile(path=path, size=3, sha256="0" * 64)
        for path in ("ema_power/0.05.safetensors", "ema_power/0.1.safetensors", "unet/w.safetensors")
    )
    manifest = make_manifest(Architecture.from_shapes({"a": (2,)}), files=files, rolled_back=(BACK,))
    document = document_of(manifest)
    assert document.files == files[:2]
    assert document.rolled_back == (BACK,)
    assert SnapshotDocument.model_validate_json(document.to_json()) == document
