"""Every `t2i` command in docs/checkpoints.md, run in the order of the page on the story's old checkpoints."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2i_checkpoint.open import open_store
from t2i_dev.paths import repository_root
from t2i_dev.story import old_checkpoint

PAGE = repository_root() / "docs" / "checkpoints.md"


def commands() -> list[tuple[str, int]]:
    lines = [
        line
        for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for line in block.splitlines()
    ]
    found = []
    for line in lines:
        command, _, comment = line.partition("#")
        status = re.search(r"exit status (\d)", comment)
        found.append((command.strip(), int(status[1]) if status else 0))
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    files = old_checkpoint.write_old_checkpoints(tmp_path / "old")
    old_checkpoint.put_old_checkpoints(open_store(f"file://{tmp_path}/bucket/emoji"), files)
    shutil.copyfile(repository_root() / "examples" / "emoji.yaml", tmp_path / "job.yaml")
    return tmp_path


def test_the_commands_of_the_page_work_in_its_order(
    place: Path, t2i: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ran = commands()
    assert len(ran) >= 8
    for command, status in ran:
        name, *arguments = shlex.split(command)
        assert name == "t2i"
        result = t2i(*arguments)
        assert result.status == status, f"{command}\n{result.output}\n{result.errors}"
    (archive,) = (place / "bucket" / "emoji" / "archive").iterdir()
    assert archive.name.endswith("-custom-unet")
    back = ["checkpoint", "restore", "bucket/emoji", "--archive", archive.name, "--yes"]
    assert t2i(*back).status == 0
    assert sorted((place / "bucket" / "emoji" / "checkpoints").iterdir())
