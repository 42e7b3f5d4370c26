"""Ctrl-C and SIGTERM end a command in order: it says how to go on, and leaves nothing behind on this machine."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

    from tests.cli.conftest import Place


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_encoding_that_is_stopped_says_how_to_go_on_and_clears_its_scratch(
    directory_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr("t2i_cli.data_commands._encode", lambda *_: stop(number, scratch))
    # Tests that run in the background ignore Ctrl-C, and so would the program.
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    try:
        ran = directory_place.run("data", "encode", tmp_path, tmp_path / "to", "--job", directory_place.job_file)
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert (ran.status, ran.errors) == (status, "stopped; the same command goes on where this one stopped\n")
    assert not list(scratch.iterdir())


def stop(number: signal.Signals, scratch: Path) -> NoReturn:
    """Be stopped in the middle of the work."""
    assert [path.name.startswith("t2i-encode-") for path in scratch.iterdir()] == [True]
    os.kill(os.getpid(), number)
    pytest.fail("the signal was not heard")
