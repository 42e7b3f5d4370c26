"""Every `t2i` command in docs/checkpoints.md, run in the order of the page on the story's old checkpoints."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

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


def test_the_commands_of_the_page_work_in_its_order(place: Path) -> None:
    program = str(Path(sys.executable).with_name("t2i"))
    ran = commands()
    assert len(ran) >= 8
    for command, status in ran:
        name, *arguments = shlex.split(command)
        assert name == "t2i"
        result = subprocess.run([program, *arguments], cwd=place, capture_output=True, text=True, check=False)
        assert result.returncode == status, f"{command}\n{result.stdout}\n{result.stderr}"
    (archive,) = (place / "bucket" / "emoji" / "archive").iterdir()
    assert archive.name.endswith("-custom-unet")
    back = ["checkpoint", "restore", "bucket/emoji", "--archive", archive.name, "--yes"]
    subprocess.run([program, *back], cwd=place, check=True, capture_output=True)
    assert sorted((place / "bucket" / "emoji" / "checkpoints").iterdir())
