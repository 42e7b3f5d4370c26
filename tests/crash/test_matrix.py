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


@pytest.mark.parametrize(("suite", "row"), CASES, ids=[f"{suite}: {row}" for suite, row in CASES])
def test_nothing_is_lost_and_a_restart_finishes(expect_green: Callable[[str, str], None], suite: str, row: str) -> None:
    expect_green(suite, row)
