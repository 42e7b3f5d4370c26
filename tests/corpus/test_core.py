"""Every row through the code that operator, trainer and command line share: from a directory, and from S3."""

import dataclasses
from collections.abc import Callable

import pytest

from t2i_api.spec_run import OnIncompatible
from t2i_api.status import VerdictKind
from t2i_checkpoint.choose import Archive, Choice, choose, decisive
from t2i_checkpoint.inspect import Judgement, Survey, judge_folder, survey
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.corpus.placed import PlacedCorpus, Way
from t2i_dev.corpus.row import NULL_EMBEDDING_SHA256, Row, Then
from t2i_dev.corpus.table import ROWS

MOST_BYTES = 512 * 1024


@pytest.mark.parametrize("way", ["file", "s3"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_gets_its_verdict(
    corpus: PlacedCorpus,
    row: Row,
    way: Way,
    expect: Callable[[Row, Judgement | None, Survey], None],
    then_of: Callable[[Choice], Then],
) -> None:
    wanted = wanted_from(corpus.job(row, way).spec)
    meaning = dataclasses.replace(wanted.meaning, null_embedding_sha256=NULL_EMBEDDING_SHA256)
    found = survey(corpus.store(row, way), dataclasses.replace(wanted, meaning=meaning))
    choice = choose(found, OnIncompatible.ARCHIVE)
    fits_beside = isinstance(choice, Archive) and found.resumable is not None
    expect(row, found.resumable if fits_beside else decisive(found, choice), found)
    assert then_of(choice) is row.then
    for judgement in found.judgements:
        assert judgement.bytes_read <= MOST_BYTES
        assert judgement.requests <= 3 or judgement.format.startswith("sharded")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_one_folder_is_judged_as_in_the_survey(corpus: PlacedCorpus, row: Row) -> None:
    wanted = wanted_from(corpus.job(row, "s3").spec)
    store = corpus.store(row, "s3")
    for judgement in survey(store, wanted).judgements:
        alone = judge_folder(store, judgement.folder, wanted)
        assert (alone.verdict, alone.step) == (judgement.verdict, judgement.step)


@pytest.mark.parametrize("row", [row for row in ROWS if row.only_with_text_encoder], ids=lambda row: row.name)
def test_without_the_text_encoder_the_null_embedding_is_not_compared(corpus: PlacedCorpus, row: Row) -> None:
    found = survey(corpus.store(row, "s3"), wanted_from(corpus.job(row, "s3").spec))
    assert [judgement.verdict.kind for judgement in found.judgements] == [VerdictKind.IDENTICAL]
