"""What a compiler writes is there whole under its name, or not under that name at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t2i_trainer import atomic_compiler
from t2i_trainer.atomic_compiler import compile_aside

# A compiler of two lines: half of the output, then what the test wants, then the other half.
_COMPILER = """
import sys, time
with open(sys.argv[sys.argv.index("-o") + 1], "w") as output:
    output.write("half"); output.flush()
    {between}
    output.write(" and half")
"""


def compiler(between: str) -> list[str]:
    return [sys.executable, "-c", _COMPILER.format(between=between)]


def test_output_that_is_whole_gets_its_name(tmp_path: Path) -> None:
    assert compile_aside([*compiler("pass"), "-o", f"{tmp_path}/kernel.so", "-O3"]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kernel.so": "half and half"}


def test_a_compiler_that_fails_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    assert compile_aside([*compiler("sys.exit(3)"), "-o", f"{tmp_path}/kernel.so"]) == 3
    assert not (tmp_path / "kernel.so").exists()


def test_a_compiler_that_is_killed_is_told_as_a_shell_tells_it(tmp_path: Path) -> None:
    suicide = "import os; os.kill(os.getpid(), 9)"
    assert compile_aside([*compiler(suicide), "-o", f"{tmp_path}/kernel.so"]) == 128 + signal.SIGKILL
    assert not (tmp_path / "kernel.so").exists()


def test_a_pod_that_is_killed_while_a_library_is_written_leaves_none(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", atomic_compiler.__file__, *compiler("time.sleep(60)")]
    with subprocess.Popen([*command, "-o", f"{tmp_path}/kernel.so"], process_group=0) as process:
        while not any(path.read_text() for path in tmp_path.iterdir()):
            time.sleep(0.01)
        subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


@pytest.mark.parametrize("arguments", [["--version"], ["-o"], ["-o", "/dev/null"]])
def test_without_an_output_file_the_compiler_runs_as_it_is(
    capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert compile_aside([sys.executable, "-c", "import sys; print(sys.argv[1:])", *arguments]) == 0
    assert capfd.readouterr().out == f"{arguments}\n"
    assert not Path("/dev/null").is_file()
