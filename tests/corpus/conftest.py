"""The corpus, written once by the real command into the directory of the real S3 server: the same files by two ways."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from t2i_checkpoint.choose import Archive, BeginWith, Choice, Resume, StartFresh
from t2i_checkpoint.inspect import Judgement, Survey
from t2i_dev.corpus.placed import PlacedCorpus, write_corpus
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.rows_hostile import EXECUTED
from t2i_dev.locks import exclusive
from t2i_dev.s3_server import S3Server

_THEN = {Resume: Then.RESUME, BeginWith: Then.INITIAL_WEIGHTS, Archive: Then.ARCHIVE, StartFresh: Then.FRESH}


@pytest.fixture(scope="session")
def corpus(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> PlacedCorpus:
    """All rows, written once: where several processes run the tests, by the first one that needs them (a minute)."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return PlacedCorpus.write(s3_server)
    common = tmp_path_factory.getbasetemp().parent
    written = common / "corpus"
    with exclusive(common / "corpus.lock"):
        if not written.exists():
            write_corpus(common / "corpus.begun")
            (common / "corpus.begun").rename(written)
    return PlacedCorpus.link(s3_server, written)


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run every test in an empty directory, and look whether a checkpoint's code left its file there."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / EXECUTED).exists(), "a pickle was executed"


@pytest.fixture(scope="session")
def then_of() -> Callable[[Choice], Then]:
    """Say in the corpus's word what was chosen."""
    return lambda choice: _THEN.get(type(choice), Then.STOP)


@pytest.fixture(scope="session")
def expect() -> Callable[[Row, Judgement | None, Survey], None]:
    """Hold a judgement against its row."""

    def check(row: Row, judgement: Judgement | None, survey: Survey) -> None:
        if judgement is None:
            assert row.verdict is None, f"nothing found; expected {row.verdict}: {row.why}"
            return
        verdict = judgement.verdict
        assert (verdict.kind, str(verdict.reason)) == (row.verdict, row.reason), f"{verdict.explanation} ({row.why})"
        for words in row.says:
            assert words in verdict.explanation
        assert verdict.explanation.strip()
        assert "\n" not in verdict.explanation
        assert survey.requests <= 8 * max(1, len(survey.judgements))

    return check
