"""What may outlive a pod lies in a folder of the machine or a volume; code only where nobody else can write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_trainer.cache import cache_folder, private_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"T2I_CACHE_DIRECTORY": "/cache", "XDG_CACHE_HOME": "/x"}, "/cache/compiled"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/t2i/compiled"),
        ({"HOME": "/home/a"}, "/home/a/.cache/t2i/compiled"),
        ({"T2I_CACHE_DIRECTORY": "", "XDG_CACHE_HOME": "", "HOME": "/home/a"}, "/home/a/.cache/t2i/compiled"),
    ],
)
def test_the_nearest_variable_counts(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("T2I_CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder("compiled")) == expected


def test_a_folder_of_one_s_own_is_made(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "compiled", tmp_path / "run")
    assert folder == tmp_path / "a" / "compiled"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_everybody_can_write_holds_no_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert private_folder(tmp_path / "open", tmp_path / "run") == tmp_path / "run"
    assert "writable by everybody" in caplog.text


def test_a_place_that_is_no_folder_costs_only_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert private_folder(tmp_path / "file" / "compiled", tmp_path / "run") == tmp_path / "run"
    assert "keeps nothing for the next" in caplog.text
