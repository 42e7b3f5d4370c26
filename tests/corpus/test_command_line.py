"""Every row through `t2i checkpoint verdict`: one object, an exit status, and nothing printed that moves the cursor."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from t2i_api.status import VerdictKind
from t2i_cli.main import commands
from t2i_dev.corpus.placed import PlacedCorpus, Way
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.table import ROWS

ACTIONS = {
    Then.RESUME: "Resume",
    Then.INITIAL_WEIGHTS: "InitialWeights",
    Then.ARCHIVE: "Archive",
    Then.STOP: "Stop",
    Then.FRESH: "StartFresh",
}
STATUS = {
    None: 0,
    VerdictKind.IDENTICAL: 0,
    VerdictKind.UNREADABLE: 4,
}
COMPARABLE = [row for row in ROWS if not row.only_with_text_encoder]
WAYS: tuple[Way, ...] = ("file", "s3")
# The core judges every row by both ways in each test run; here each third one, as files, is enough to see the words.
CASES = [
    pytest.param(
        row, way, id=f"{row.name}-{way}", marks=() if number % 3 == 0 and way == "file" else pytest.mark.exhaustive
    )
    for number, row in enumerate(COMPARABLE)
    for way in WAYS
]


@pytest.fixture
def run(corpus: PlacedCorpus, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `t2i checkpoint …` with the server's credentials in the environment."""
    for name, value in corpus.server.environment().items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(commands, ["checkpoint", *map(str, arguments)])


@pytest.mark.parametrize(("row", "way"), CASES)
def test_the_command_line_says_the_same(
    corpus: PlacedCorpus, row: Row, way: Way, run: Callable[..., Result], tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(corpus.document(row, way)))
    result = run("verdict", "--job", job, "-o", "json")
    assert not isinstance(result.exception, Exception), result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    assert (found["verdict"], found["reason"]) == (row.verdict, row.reason), found["explanation"]
    assert found["then"]["action"] == ACTIONS[row.then]
    resumable = row.then is Then.RESUME or row.verdict is VerdictKind.IDENTICAL
    assert result.exit_code == (0 if resumable else STATUS.get(row.verdict, 3))
    for count in ("matched", "missing", "unexpected", "mismatched", "bytesRead", "requests"):
        assert isinstance(found[count], int)
    assert 0 <= found["matchedParameterShare"] <= 1
    assert len(found["checkpoints"]) == 0 or found["step"] is not None


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", COMPARABLE, ids=lambda row: row.name)
def test_tables_show_the_verdict_and_move_no_cursor(
    corpus: PlacedCorpus, row: Row, run: Callable[..., Result], tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(corpus.document(row, "file")))
    shown = run("verdict", "--job", job).stdout
    assert (row.verdict or "there is no checkpoint") in shown
    if row.verdict is not None:
        place = corpus.uri(row, "file").removeprefix("file://")
        shown += run("ls", place).stdout + run("inspect", place).stdout
    assert not [each for each in shown if not each.isprintable() and each != "\n"]
