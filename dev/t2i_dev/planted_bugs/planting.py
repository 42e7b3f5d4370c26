"""Plant one bug into a copy of the tree and run the tests that must notice it."""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2i_dev.errors import DevelopmentError

SOURCE_FOLDERS = ("api", "checkpoint", "operator", "trainer_image", "cli", "dev")
_TIMEOUT_SECONDS = 3600  # all tests of all bugs in one run, on a busy machine
_ALL_PASSED, _SOME_FAILED = 0, 1  # pytest's exit status; anything else says that no test decided


class StaleBugError(DevelopmentError):
    """The code that a bug replaces is not there (any more)."""


@dataclass(frozen=True, slots=True)
class Edit:
    """In `file`, the one occurrence of `old` becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """A mistake that somebody could make, and the tests (pytest node ids) that notice it."""

    name: str
    why: str  # it would hurt
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said: `red` as they must, with the first line that says why."""

    red: bool
    said: str


def copy_tree(root: Path, target: Path) -> None:
    """Copy what git knows or would know of the checkout at `root`, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = root / name
        if name and source.is_file():
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())


def plant(tree: Path, bug: PlantedBug) -> dict[Path, str]:
    """Change the copy; returns what was there before. Raises StaleBugError if an edit does not fit exactly once."""
    before: dict[Path, str] = {}
    for edit in bug.edits:
        path = tree / edit.file
        text = path.read_text() if path.is_file() else ""
        if text.count(edit.old) != 1:
            restore(before)
            raise StaleBugError(f"{bug.name}: {edit.file} contains {text.count(edit.old)} times:\n{edit.old}")
        before.setdefault(path, text)
        path.write_text(text.replace(edit.old, edit.new))
    return before


def restore(before: dict[Path, str]) -> None:
    """Take a bug out again."""
    for path, text in before.items():
        path.write_text(text)


def run_tests(tree: Path, tests: Iterable[str], *, first_only: bool = True) -> tuple[int, str]:
    """Run these tests on the copy; returns pytest's exit status and its output."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *tests]
    path = os.pathsep.join(str(tree / folder) for folder in SOURCE_FOLDERS)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [*command, *(["-x"] if first_only else [])],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
    )
    return result.returncode, result.stdout + result.stderr


def expect_green(tree: Path, bugs: Sequence[PlantedBug]) -> None:
    """Run all tests of all bugs on the untouched copy. Raises DevelopmentError unless they pass."""
    tests = dict.fromkeys(test for bug in bugs for test in bug.tests)
    status, output = run_tests(tree, tests, first_only=False)
    if status != _ALL_PASSED:
        raise DevelopmentError(f"the tests are not green without any planted bug:\n{output[-6000:]}")


def judge(tree: Path, bug: PlantedBug) -> Verdict:
    """Plant, run, take out."""
    before = plant(tree, bug)
    try:
        status, output = run_tests(tree, bug.tests)
    finally:
        restore(before)
    reasons = [line.removeprefix("E").strip() for line in output.splitlines() if line.startswith("E  ")]
    said = reasons[0] if reasons else (output.strip().splitlines() or ["no output"])[-1]
    return Verdict(status == _SOME_FAILED, said)
