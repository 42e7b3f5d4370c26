"""The crash matrix: every side effect of save, archive and restore meets every fault.

At every instant each committed checkpoint is byte-equal at its source or in the archive, no key outside the plan is
touched, and a restart reaches the fault-free end state. `-k archive-move` runs one suite, `-k "killed"` one fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_dev.crash.suites import SUITES

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = [(suite, row) for suite, tested in SUITES.items() for row in tested.rows]


each_case = pytest.mark.parametrize(("suite", "row"), CASES, ids=[f"{suite}: {row}" for suite, row in CASES])


@each_case
def test_nothing_is_lost_and_a_restart_finishes(expect_green: Callable[..., None], suite: str, row: str) -> None:
    """A sample: each fault at some places, each place under some faults."""
    expect_green(suite, row, every=10, kills_every=10)


@pytest.mark.exhaustive
@each_case
def test_no_kill_at_any_side_effect_loses_anything(expect_green: Callable[..., None], suite: str, row: str) -> None:
    """Kills at every side effect, the other faults at each third one; all of them in `make crash-matrix`."""
    expect_green(suite, row, every=3, kills_every=1)
