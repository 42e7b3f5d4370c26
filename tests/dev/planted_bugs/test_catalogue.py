"""The catalogue stays plantable while the code moves on; `t2i-dev planted-bugs` (minutes) shows that tests notice."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from t2i_dev.paths import repository_root
from t2i_dev.planted_bugs.catalogue import BUGS
from t2i_dev.planted_bugs.planting import Edit, PlantedBug, StaleBugError, plant

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files_of(tmp_path: Path) -> Path:
    """A copy of the files that bugs are planted into."""
    for bug in BUGS:
        for edit in bug.edits:
            target = tmp_path / edit.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((repository_root() / edit.file).read_bytes())
    return tmp_path


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_every_bug_fits_the_code_as_it_is(files_of: Path, bug: PlantedBug) -> None:
    plant(files_of, bug)
    for edit in bug.edits:
        ast.parse((files_of / edit.file).read_text())


def test_there_are_at_least_twelve_of_different_names() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 12


def test_a_bug_that_does_not_fit_any_more_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    stale = PlantedBug("stale", "", (Edit("a.py", "x = 1", "x = 2"), Edit("a.py", "y = 1", "y = 2")), ())
    with pytest.raises(StaleBugError, match="stale"):
        plant(tmp_path, stale)
    assert (tmp_path / "a.py").read_text() == "x = 1\n"
