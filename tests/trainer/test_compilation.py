"""The compiler's cache is shared by the processes of a pod, and what cannot be compiled is said in the job's words."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from t2i_api.progress import ExitCode
from t2i_trainer import atomic_compiler
from t2i_trainer.compilation import compile_whole, keep_compiled_code, naming_the_setting
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from pathlib import Path


class Branches(torch.nn.Module):
    """Looks at its numbers, which one graph cannot."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values if values.sum() > 0 else -values


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the launcher sets for its processes is gone after the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("TORCHINDUCTOR_CACHE_DIR", "CXX"):
        os.environ.pop(name, None)


def test_processes_that_are_started_share_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("T2I_CACHE_DIRECTORY", str(tmp_path))
    keep_compiled_code(tmp_path / "run")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "compiled")


def test_a_cache_that_somebody_chose_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    keep_compiled_code(tmp_path / "run")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"


@pytest.mark.parametrize(
    ("chosen", "found", "called"),
    [
        (None, "/usr/bin/g++", "/usr/bin/g++"),
        ("ccache clang++", "/usr/bin/g++", "ccache clang++"),
        ("", "/usr/bin/g++", "/usr/bin/g++"),
    ],
)
def test_the_compiler_writes_into_the_cache_what_is_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str | None, found: str, called: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: found)
    if chosen is not None:
        monkeypatch.setenv("CXX", chosen)
    keep_compiled_code(tmp_path)
    once = os.environ["CXX"]
    assert once == f"{sys.executable} -I -S {atomic_compiler.__file__} {called}"
    keep_compiled_code(tmp_path)
    assert os.environ["CXX"] == once


def test_no_compiler_is_named_where_none_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    keep_compiled_code(tmp_path)
    assert "CXX" not in os.environ


def test_without_a_compiler_the_job_is_told_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(TrainerError, match="needs a C\\+\\+ compiler") as error:
        compile_whole(torch.nn.Linear(1, 1))
    assert error.value.code is ExitCode.BAD_CONFIGURATION


def test_a_model_that_is_no_single_graph_is_refused_by_the_setting_s_name() -> None:
    compiled = compile_whole(Branches())
    with pytest.raises(TrainerError, match=r"training\.compile WholeGraph: .*Write Eager"), naming_the_setting():
        compiled(torch.ones(3))


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), naming_the_setting():
        _ = 1 / 0
